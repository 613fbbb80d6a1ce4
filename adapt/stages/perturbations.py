"""Stored perturbations: for each training text, perturbed word embeddings on which a fine-tuned model does worst."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from adapt.adversary.plain import PLAIN
from adapt.config import BallConfig, KeptConfig, RuntimeConfig
from adapt.data import tasks
from adapt.data.adversarial_embeddings import write_embeddings
from adapt.data.text import hash_share
from adapt.data.tokens import batching
from adapt.models import loading
from adapt.perturbation.attack import attack
from adapt.perturbation.ball import Ball
from adapt.tasks.prediction import encode_examples
from adapt.training import loop
from adapt.training.objectives import Classification
from adapt.training.step import Step

KEY_NAME = "stages.perturbations"
VERSION = 2


def perturbations(
    cfg: KeptConfig,
    inputs: dict[str, Path],
    out: Path,
    runtime: RuntimeConfig,
    *,
    ball: BallConfig,
    max_length: int,
    batch_size: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Attack ``inputs["model"]`` (fine-tuned) on the training texts of ``inputs["task"]`` by PGD, without dropout.

    Writes ``embeddings.safetensors``: for each training text, by number, e + delta [its tokens, d] in float32, at the
    delta with the highest loss that PGD visited; and ``texts.jsonl``: number, label and text. ``cfg.share`` of the
    texts are stored, chosen by hash.
    """
    task = tasks.load_task(inputs["task"])
    examples = task.splits["train"]
    tokenizer = loading.load_tokenizer(inputs["model"])
    model, _ = loading.load_classifier(inputs["model"])
    device = loop.device(runtime)
    model.to(device).eval()
    data = encode_examples(tokenizer, examples, max_length)
    chosen = [
        index for index, example in enumerate(examples) if hash_share(" ".join(example.texts), salt="kept") < cfg.share
    ]
    adversary = replace(PLAIN, ball=Ball(**asdict(ball)), dropout="off")
    stored: dict[int, Tensor] = {}
    for indices in tqdm(
        batching.sorted_batches([data.lengths[index] for index in chosen], batch_size),
        desc="perturbations",
        disable=not runtime.progress,
        leave=False,
    ):
        numbers = [chosen[index] for index in indices]
        batch = {
            **batching.collate(tokenizer, data, numbers),
            "labels": torch.tensor([examples[number].label for number in numbers]),
        }
        batch = {name: value.to(device) for name, value in batch.items()}
        step = Step(
            model, Classification(), [batch], adversary=adversary, seed=seed, step_number=0, update=lambda: None
        )
        (view,) = step
        start = view.uniform() if cfg.random_start else view.zero()
        delta = attack(view.losses_at, [start], ball=view.ball, step_size=cfg.step_size, num_steps=cfg.num_steps)
        perturbed = (view.embeddings() + delta * view.mask).cpu()
        real = batch["attention_mask"].bool().cpu()
        stored |= {number: perturbed[row, real[row]] for row, number in enumerate(numbers)}
    texts = [
        {"number": number, "label": task.labels[examples[number].label], "text": examples[number].text}
        for number in sorted(stored)
    ]
    write_embeddings(out, stored, texts)
    return []
