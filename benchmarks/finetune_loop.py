"""The training loop (adapt.training.loop) against a bare PyTorch loop, on the same batches for the embedded model."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from adapt.adversary.plain import PLAIN
from adapt.config import OptimizerConfig, RuntimeConfig
from adapt.models import heads, loading
from adapt.store.sources import ASSETS
from adapt.training import loop
from adapt.training.objectives import Classification
from adapt.training.optimization import decay_groups, learning_rate_shape

TARGET = 1.05
STEPS, ROWS, LENGTH, CLASSES, ROUNDS = 60, 32, 32, 7, 5
OPTIMIZER = OptimizerConfig(
    learning_rate=1e-4, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01, schedule="linear", warmup_fraction=0.06,
    clip_norm=1.0, precision="no",
)  # fmt: skip


def run() -> list[str]:
    """The median ratio of the times over several alternating rounds."""
    torch.manual_seed(0)
    vocabulary = loading.load_encoder(ASSETS / "tiny").config.vocab_size
    batches = [batch(vocabulary, number) for number in range(STEPS)]
    ours, bare = [], []
    for _ in range(ROUNDS):
        ours.append(time_ours(batches))
        bare.append(time_bare(batches))
    ratio = statistics.median(one / other for one, other in zip(ours, bare, strict=True))  # noise affects one round
    return [
        f"adapt {STEPS / min(ours):.1f} steps per second, bare loop {STEPS / min(bare):.1f}: {ratio:.3f} of its time",
        f"target: at most {TARGET}",
    ]


def batch(vocabulary: int, number: int) -> loop.Batch:
    """Random ids and labels."""
    generator = torch.Generator().manual_seed(number)
    ids = torch.randint(5, vocabulary, (ROWS, LENGTH), generator=generator)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "special_tokens_mask": torch.zeros_like(ids),
        "example_ids": torch.arange(ROWS),
        "labels": torch.randint(0, CLASSES, (ROWS,), generator=generator),
    }


def new_model() -> heads.Classifier:
    """The embedded encoder with the same new head each time."""
    torch.manual_seed(1)
    return loading.new_classifier(ASSETS / "tiny", labels=[str(n) for n in range(CLASSES)], pooling="mean", dropout=0.1)


def time_ours(batches: list[loop.Batch]) -> float:
    """Seconds of ``loop.train``, including the checkpoints of the best weights."""
    model = new_model()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        loop.train(
            model,
            name="bench",
            objective=Classification(),
            plan=loop.Plan(lambda epoch: [[i] for i in range(STEPS)], lambda i, step: batches[i[0]], STEPS, ROWS),
            adversary=PLAIN,
            optimizer_config=OPTIMIZER,
            parameter_groups=decay_groups(model, model.head, None),
            best_checkpoint=loop.BestCheckpoint(lambda: 0.0, STEPS, "max"),
            seed=0,
            folder=Path(folder),
            runtime=RuntimeConfig(device="cpu", checkpoint_seconds=60.0, progress=False, trackers=[]),
        )
        return time.perf_counter() - started


def time_bare(batches: list[loop.Batch]) -> float:
    """Seconds of a minimal training loop: forward, backward, clip, step."""
    model = new_model().train()
    started = time.perf_counter()
    optimizer = torch.optim.AdamW(decay_groups(model, model.head, None), lr=OPTIMIZER.learning_rate, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_shape(OPTIMIZER, STEPS))
    for one in batches:
        logits = model(input_ids=one["input_ids"], attention_mask=one["attention_mask"])
        torch.nn.functional.cross_entropy(logits, one["labels"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    return time.perf_counter() - started
