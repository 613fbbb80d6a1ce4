"""Fine-tuning: encoder and head on a task's training split, under an adversary, selected on its dev split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapt.adapters import stage as adapters
from adapt.adapters.folder import bytes_beside_base
from adapt.config import AdversaryConfig, FinetuneConfig, PeftConfig, RuntimeConfig
from adapt.data import tasks
from adapt.data.kept import load_kept
from adapt.data.tokens import batching
from adapt.models import loading
from adapt.table.measurement import measurement
from adapt.tasks.kinds import KINDS, Examples
from adapt.training import loop, processes, retention, sharding
from adapt.training.checkpoint import Progress
from adapt.training.costs import costs, forget_peak
from adapt.training.method import Adversary
from adapt.training.objectives import Objective
from adapt.training.optimization import decay_groups

KEY_NAME = "stages.finetune"
VERSION = 2


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

    The head is new, drawn from ``seed``; it labels texts or words, by the task's kind. Returns the cost.
    peft: what is trained of the model, and what becomes of its parent's adapter; unquantized: heads, under a base of
    4 or 8 bits.
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
    adapters.begin(model, peft, out, unquantized=unquantized)
    rate = cfg.optimizer.learning_rate * peft.learning_rate_factor
    cfg = replace(cfg, optimizer=replace(cfg.optimizer, learning_rate=rate))
    train, dev = (kind.split(tokenizer, task, name, cfg.max_length) for name in ("train", "dev"))
    restore, progress, cost = fit(
        model,
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
        stored=load_kept(inputs["perturbations"]) if "perturbations" in inputs else None,
    )
    trained = restore()
    if processes.leads():
        trained.cpu().save(out, tokenizer, task.labels)
        record = {"best_step": progress.best_step, "history": progress.history}
        (out / "training.json").write_text(json.dumps(record) + "\n")
    cost["trainable_parameters"] = float(loading.trainable_parameters(model))
    if processes.leads():
        cost["checkpoint_bytes"] = float(bytes_beside_base(model.model, out))
    return [measurement("train", metric, value) for metric, value in cost.items()]


def fit(
    model: Any,
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
) -> tuple[sharding.Restore, Progress, dict[str, float]]:
    """Train a headed encoder in place by ``cfg`` and leave it with the weights of the epoch that is best on ``dev``.

    length: of the training, times ``cfg.epochs``. stored: kept embeddings, for a method that trains on them.
    Returns what gives the model whole (see sharding.distribute), how the training went and what it has cost.
    """
    device = loop.device(runtime)
    model.to(device)
    if runtime.gradient_checkpointing:
        adapters.checkpoint_gradients(model)
    retention.freeze(model, cfg.retention.frozen_layers)

    def epoch(number: int) -> list[list[int]]:
        return batching.shuffled_batches(train.lengths, cfg.batch_size, seed=seed, epoch=number)

    def collate(indices: list[int], step: int) -> loop.Batch:
        return train.batch(indices)

    def dev_score() -> float:
        return dev.score(dev.predict(model, cfg.micro_batch_size, device))

    steps_an_epoch = len(epoch(0))
    steps = max(1, round(cfg.epochs * steps_an_epoch * length))
    restore = sharding.distribute(model, runtime)
    held = forget_peak(device)
    progress = loop.train(
        model,
        name=name,
        objective=objective,
        plan=loop.Plan(epoch, collate, steps, cfg.micro_batch_size),
        adversary=adversary,
        optimizer_config=cfg.optimizer,
        parameter_groups=decay_groups(
            model,
            head_of(model),
            cfg.head_learning_rate,
            layer_decay=cfg.retention.layer_decay,
            learning_rate=cfg.optimizer.learning_rate,
        ),
        selection=loop.Selection(dev_score, steps_an_epoch, "max", cfg.patience),
        seed=seed,
        folder=folder,
        runtime=runtime,
        stored=stored,
        pull=adapters.penalty(
            model,
            retention.toward_start(
                model,
                cfg.retention.toward_start,
                new=[*retention.outside(model), *adapters.adapter_weights(model)],
            ),
        ),
        after_update=adapters.after_update(model, steps),
    )
    return restore, progress, costs(progress, device, held)


def head_of(model: Any) -> torch.nn.Module:
    """Everything outside the encoder."""
    if model.head is not None:
        return model.head
    inside = {id(module) for module in model.encoder.modules()}
    return torch.nn.ModuleList(
        module
        for module in model.model.children()
        if id(module) not in inside and any(True for _ in module.parameters())
    )
