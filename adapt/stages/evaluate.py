"""Evaluation: clean scores on dev and test, and accuracy under attack on test, without dropout."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from adapt import models, training
from adapt.adversary.ball import Ball
from adapt.adversary.robustness import robust_predictions
from adapt.config import AttackConfig, EvaluateConfig, RuntimeConfig
from adapt.data import batching, tasks
from adapt.measurement import measurement
from adapt.prediction import encode_examples, predict, score

VERSION = 1


def evaluate(
    cfg: EvaluateConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, max_length: int
) -> list[dict[str, Any]]:
    """Measure ``inputs["model"]`` (a fine-tuned folder) on ``inputs["task"]``; keep its test predictions in ``out``."""
    task = tasks.load_task(inputs["task"])
    tokenizer = models.load_tokenizer(inputs["model"])
    model, _ = models.load_classifier(inputs["model"])
    device = training.device(runtime)
    model.to(device).eval()
    found = []
    for split in ("dev", "test"):
        examples = task.splits[split]
        data = encode_examples(tokenizer, examples, max_length)
        logits = predict(model, tokenizer, data, cfg.batch_size, device)
        found += clean(split, task, [example.label for example in examples], logits.argmax(-1).tolist())
        np.save(out / f"{split}_logits.npy", logits.numpy())
    if cfg.attack is not None:
        answers = {0.0: logits.argmax(-1).tolist()}  # of the test split, the last one measured
        found += attacked(cfg, cfg.attack, model, tokenizer, task, max_length, device, answers)
    return found


def attacked(
    cfg: EvaluateConfig,
    attack: AttackConfig,
    model: models.Classifier,
    tokenizer: PreTrainedTokenizerBase,
    task: tasks.Task,
    max_length: int,
    device: torch.device,
    answers: dict[float, list[int]],
) -> list[dict[str, Any]]:
    """Accuracy and the task's metric under PGD at each radius, and on the same examples without it (radius 0).

    answers: the clean answers under 0.0.
    """
    examples = task.splits["test"][: attack.max_examples]
    data = encode_examples(tokenizer, examples, max_length)
    gold = [example.label for example in examples]
    ball = Ball(**asdict(attack.ball))
    answers = {0.0: answers[0.0][: len(gold)], **{epsilon: [0] * len(gold) for epsilon in attack.epsilons}}
    for indices in batching.sorted_batches(data.lengths, cfg.batch_size):
        batch = {
            **batching.collate(tokenizer, data, indices),
            "labels": torch.tensor([gold[index] for index in indices]),
        }
        batch = {name: value.to(device) for name, value in batch.items()}
        predictions = robust_predictions(model, batch, ball=ball, epsilons=attack.epsilons, num_steps=attack.num_steps)
        for epsilon, found in predictions.items():
            for index, answer in zip(indices, found.tolist(), strict=True):
                answers[epsilon][index] = answer
    return [
        measurement(
            "test",
            metric,
            score(metric, gold, predicted, len(task.labels)),
            n=len(gold),
            attack="pgd",
            epsilon=epsilon,
            steps=attack.num_steps,
        )
        for epsilon, predicted in answers.items()
        for metric in dict.fromkeys([task.metric, "accuracy"])
    ]


def clean(split: str, task: tasks.Task, gold: list[int], predicted: list[int]) -> list[dict[str, Any]]:
    """The task's own metric and accuracy on one split."""
    n, classes = len(gold), len(task.labels)
    metrics = dict.fromkeys([task.metric, "accuracy"])
    return [measurement(split, metric, score(metric, gold, predicted, classes), n=n) for metric in metrics]
