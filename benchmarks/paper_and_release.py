"""How far a released method is from its paper: both option files on the same trained model, batch and dropout masks.

Trains the embedded model for two epochs of plain training on ``pydoc_topic``; then runs one step of each method on
several batches, and compares the length of its perturbation, and its gradient with the paper's and plain training's.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from adapt.adversary.plain import PLAIN
from adapt.config import AdversaryConfig, BallConfig, SplitSizes, TaskConfig
from adapt.data import tasks
from adapt.data.tokens import batching
from adapt.models import heads, loading
from adapt.store.sources import ASSETS
from adapt.tasks.prediction import encode_examples
from adapt.training.method import Adversary
from adapt.training.objectives import Batch, Classification
from adapt.training.step import Step

OPTIONS = Path(__file__).parents[1] / "conf" / "adversary"
PAIRS = [(file.stem.removesuffix("_as_released"), file.stem) for file in sorted(OPTIONS.glob("*_as_released.yaml"))]
EPOCHS, BATCHES, ROWS, RATE = 2, 8, 32, 3e-4
TASK = TaskConfig(
    name="pydoc_topic", kind="classification", format="pydoc", path=None, question="topic", text_column="text",
    text_pair_column=None, label_column="label", metric="macro_f1", num_classes=16,
    max_examples=SplitSizes(500, 50, 50),
)  # fmt: skip


def run() -> list[str]:
    """A Markdown table, medians over the batches."""
    model, batches = trained()
    lines = [
        "| option file | passes (F, Bp, Bi) | norm of delta / norm of e | cosine to the paper's gradient | to plain |",
        "|---|---|---|---|---|",
    ]
    plain = [gradient(model, batch, PLAIN)[0] for batch in batches]
    for paper, release in PAIRS:
        first = [gradient(model, batch, option(paper)) for batch in batches]
        second = [gradient(model, batch, option(release)) for batch in batches]
        for name, gradients in ((paper, first), (release, second)):
            to_paper = median(cosine(mine[0], theirs[0]) for mine, theirs in zip(gradients, first, strict=True))
            to_plain = median(cosine(mine[0], theirs) for mine, theirs in zip(gradients, plain, strict=True))
            counts = gradients[0][1].counts
            passes = f"{counts.forward_passes:g}, {counts.backward_passes:g}, {counts.delta_backward_passes:g}"
            length = [step.adversary_report().get("delta_norm_p50") for _, step in gradients]
            moved = "none" if None in length else f"{median(length):.2g}"
            lines.append(f"| {name} | {passes} | {moved} | {to_paper:.3f} | {to_plain:.3f} |")
    return lines


def trained() -> tuple[heads.Classifier, list[Batch]]:
    """The embedded model after EPOCHS of plain training, and batches of training texts with their labels."""
    torch.manual_seed(0)
    task = tasks.read_task(TASK)
    tokenizer = loading.load_tokenizer(ASSETS / "tiny")
    model = loading.new_classifier(ASSETS / "tiny", labels=task.labels, pooling="mean", dropout=0.1)
    examples = task.splits["train"]
    data = encode_examples(tokenizer, examples, 128)
    labels = torch.tensor([example.label for example in examples])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    model.train()
    batches: list[Batch] = []
    for epoch in range(EPOCHS):
        order = batching.shuffled_batches(data.lengths, ROWS, seed=0, epoch=epoch)
        batches = [{**batching.collate(tokenizer, data, rows), "labels": labels[rows]} for rows in order]
        for number, batch in enumerate(batches):
            gradient(model, batch, PLAIN, number)
            optimizer.step()
            optimizer.zero_grad()
    return model, batches[:BATCHES]


def option(name: str) -> Adversary:
    """The adversary that an option file describes."""
    settings = yaml.safe_load((OPTIONS / f"{name}.yaml").read_text())
    settings["ball"] = BallConfig(**settings["ball"]) if settings["ball"] else None
    return Adversary.of(AdversaryConfig(**settings))


def gradient(model: nn.Module, batch: Batch, adversary: Adversary, number: int = 0) -> tuple[Tensor, Step]:
    """All gradients of one step as one vector, and the step; they are also left in the weights' ``.grad``."""
    torch.manual_seed(number)
    step = Step(model, Classification(), [batch], adversary=adversary, seed=0, step_number=number, update=lambda: None)
    model.zero_grad()
    for loss in adversary.method(step):
        loss.backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]), step


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine of the angle between two gradients."""
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def median(values: object) -> float:
    """The median of some numbers."""
    return statistics.median(values)  # type: ignore[call-overload, no-any-return]
