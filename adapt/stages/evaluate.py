"""Evaluation: clean scores on dev and test, and accuracy under attack on test, without dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from adapt import models, training
from adapt.config import EvaluateConfig, RuntimeConfig
from adapt.data import tasks
from adapt.measurement import measurement
from adapt.prediction import encode_examples, predict, score
from adapt.stages.robustness import attacked
from adapt.text_attacks.measure import text_attacks

VERSION = 2


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
        found += attacked(
            cfg.attack, model, tokenizer, task, batch_size=cfg.batch_size, max_length=max_length, device=device,
            out=out, runtime=runtime,
        )  # fmt: skip
    if cfg.text is not None:
        found += text_attacks(
            cfg.text,
            task,
            model,
            tokenizer,
            inputs.get("masked_lm"),
            out,
            max_length=max_length,
            batch_size=cfg.batch_size,
            device=device,
            progress=runtime.progress,
        )
    return found


def clean(split: str, task: tasks.Task, gold: list[int], predicted: list[int]) -> list[dict[str, Any]]:
    """The task's own metric and accuracy on one split."""
    n, classes = len(gold), len(task.labels)
    metrics = dict.fromkeys([task.metric, "accuracy"])
    return [measurement(split, metric, score(metric, gold, predicted, classes), n=n) for metric in metrics]
