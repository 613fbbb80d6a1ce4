"""Fine-tuning: encoder and head train on a task's training split, with an adversary; dev chooses the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapt.adapters import stage as adapters
from adapt.config import AdversaryConfig, FinetuneConfig, PeftConfig, RuntimeConfig
from adapt.data import tasks
from adapt.data.adversarial_embeddings import load_embeddings
from adapt.data.splits import DEV, TRAIN
from adapt.data.tokens import batching
from adapt.models import loading
from adapt.table.measurement import measurement
from adapt.tasks.kind import Examples
from adapt.tasks.kinds import KINDS
from adapt.training import fit, loop, retention
from adapt.training.method import Adversary
from adapt.training.objectives import Objective

KEY_NAME = "stages.finetune"
VERSION = 3


def finetune(
    cfg: FinetuneConfig,
    inputs: dict[str, Path],
    out: Path,
    runtime: RuntimeConfig,
    *,
    seed: int,
    adversary: AdversaryConfig,
    peft: PeftConfig = adapters.FULL,
    unquantized: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Train the encoder of ``inputs["model"]`` for ``inputs["task"]``; save the best epoch's model into ``out``.

    The head is new, drawn from ``seed``; it labels texts or words, as the task's kind demands. Returns the cost.
    peft: which weights are trained, and what happens to the parent's adapter. unquantized: modules (heads) that are not
    quantised when the base is loaded in 4 or 8 bits.
    """
    torch.manual_seed(seed)
    task = tasks.load_task(inputs["task"])
    tokenizer = loading.load_tokenizer(inputs["model"])
    kind = KINDS[task.kind]
    model = kind.new(
        inputs["model"],
        labels=task.labels,
        pooling=cfg.pooling,
        dropout=cfg.dropout,
        adapted=peft.inherit != "drop",
    )
    of_adapters = adapters.begin(model, peft, out, unquantized=unquantized)
    train, dev = (kind.split(tokenizer, task, name, cfg.max_length) for name in (TRAIN, DEV))
    fitted = fit_headed(
        model,
        of_adapters,
        kind.objective,
        train,
        dev,
        cfg,
        name="finetune",
        seed=seed,
        adversary=Adversary.of(adversary),
        length=adversary.length,
        folder=out,
        runtime=runtime,
        stored=load_embeddings(inputs["perturbations"]) if "perturbations" in inputs else None,
    )
    cost = fit.write(fitted, out, lambda trained: trained.save(out, tokenizer, task.labels, max_length=cfg.max_length))
    return [measurement("train", metric, value) for metric, value in cost.items()]


def fit_headed(
    model: Any,
    of_adapters: fit.Adapters,
    objective: Objective,
    train: Examples,
    dev: Examples,
    cfg: FinetuneConfig,
    *,
    name: str,
    seed: int,
    adversary: Adversary,
    length: float,
    folder: Path,
    runtime: RuntimeConfig,
    stored: Mapping[int, Tensor] | None = None,
) -> fit.Fitted:
    """Train a headed encoder in place and leave it with the weights of the epoch that scores best on ``dev``.

    length: a factor on ``cfg.epochs``. stored: embeddings by example id, for a method that reads stored perturbations.
    """
    device = loop.device(runtime)

    def epoch(number: int) -> list[list[int]]:
        return batching.shuffled_batches(train.lengths, cfg.batch_size, seed=seed, epoch=number)

    def collate(indices: list[int], step: int) -> loop.Batch:
        return train.batch(indices)

    def dev_score() -> float:
        return dev.score(dev.predict(model, cfg.micro_batch_size, device))

    steps_per_epoch = len(epoch(0))
    steps = max(1, round(cfg.epochs * steps_per_epoch * length))
    return fit.fit(
        model,
        of_adapters,
        name=name,
        objective=objective,
        plan=loop.Plan(epoch, collate, steps, cfg.micro_batch_size),
        best_checkpoint=loop.BestCheckpoint(dev_score, steps_per_epoch, "max", cfg.patience),
        adversary=adversary,
        optimizer=cfg.optimizer,
        retention=cfg.retention,
        seed=seed,
        folder=folder,
        runtime=runtime,
        new=lambda: retention.outside(model),
        head=head_of(model),
        head_learning_rate=cfg.head_learning_rate,
        stored=stored,
    )


def head_of(model: Any) -> torch.nn.Module:
    """The modules outside the encoder."""
    if model.head is not None:
        return model.head
    inside = {id(module) for module in model.encoder.modules()}
    return torch.nn.ModuleList(
        module
        for module in model.model.children()
        if id(module) not in inside and any(True for _ in module.parameters())
    )
