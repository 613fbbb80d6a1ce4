"""What every training stage does around the loop: it starts with a loaded model and ends with its files and costs.

A stage says what differs: the model, its objective, the plan of its steps, how the best checkpoint is chosen, and which
weights are new. It calls ``fit``, may measure the model, and calls ``write``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from adapt.config import OptimizerConfig, RetentionConfig, RuntimeConfig
from adapt.training import loop, processes
from adapt.training.checkpoint import Progress
from adapt.training.costs import costs, forget_peak, trainable_parameters
from adapt.training.method import Adversary
from adapt.training.objectives import Objective
from adapt.training.optimization import decay_groups
from adapt.training.retention import Pull, freeze, toward_start
from adapt.training.sharding import Restore, distribute

KEY_NAME = "training.fit"
VERSION = 1


@dataclass(frozen=True)
class Adapters:
    """What adapters need of a model's training. ``adapters.stage.begin`` makes one for models without adapters too.

    learning_rate_factor: multiplies the stage's learning rate. added(): the weights that adapters add to the base.
    penalty(pull): the function that adds to the gradients of each update, ``pull`` included. after_update(steps): the
    function to call after each update of a training of that many steps. checkpoint_gradients(): recompute activations
    in the backward pass. bytes_beside_base(folder): the size of the stage's files without what the base already has.
    """

    learning_rate_factor: float
    added: Callable[[], list[nn.Parameter]]
    penalty: Callable[[Pull | None], Pull | None]
    after_update: Callable[[int], loop.AfterUpdate | None]
    checkpoint_gradients: Callable[[], None]
    bytes_beside_base: Callable[[Path], int]


@dataclass(frozen=True)
class Fitted:
    """A model with its best weights, how its training went, and what it cost.

    restore(): the whole model (see ``sharding.distribute``).
    """

    model: Any
    adapters: Adapters
    restore: Restore
    progress: Progress
    cost: dict[str, float]


def fit(
    model: Any,
    adapters: Adapters,
    *,
    name: str,
    objective: Objective,
    plan: loop.Plan,
    best_checkpoint: loop.BestCheckpoint,
    adversary: Adversary,
    optimizer: OptimizerConfig,
    retention: RetentionConfig,
    seed: int,
    folder: Path,
    runtime: RuntimeConfig,
    new: Callable[[], Iterable[nn.Parameter]],
    head: nn.Module | None = None,
    head_learning_rate: float | None = None,
    stored: Mapping[int, Tensor] | None = None,
    snapshot: Callable[[Restore, int], None] | None = None,
) -> Fitted:
    """Train ``model`` in place and leave it with the best weights, as ``best_checkpoint`` measures them.

    new(): the weights that no parent stage trained, other than adapters; they are not pulled back to their start.
    head: the part that trains at ``head_learning_rate``, where that is given. stored: embeddings by example id, for a
    method that reads stored perturbations. snapshot(restore, steps): called after each measurement. Raises what
    ``loop.train`` raises, and ConfigError where the model has too few layers to freeze or cannot recompute its
    activations.
    """
    device = loop.device(runtime)
    model.to(device)
    freeze(model, retention.frozen_layers)
    if runtime.gradient_checkpointing:
        adapters.checkpoint_gradients()
    rate = optimizer.learning_rate * adapters.learning_rate_factor
    restore = distribute(model, runtime)  # before any parameter is taken from the model
    bytes_before = forget_peak(device)
    progress = loop.train(
        model,
        name=name,
        objective=objective,
        plan=plan,
        adversary=adversary,
        optimizer_config=replace(optimizer, learning_rate=rate),
        parameter_groups=decay_groups(
            model, head, head_learning_rate, layer_decay=retention.layer_decay, learning_rate=rate
        ),
        best_checkpoint=best_checkpoint
        if snapshot is None
        else replace(best_checkpoint, after_measurement=partial(snapshot, restore)),
        seed=seed,
        folder=folder,
        runtime=runtime,
        stored=stored,
        pull=adapters.penalty(toward_start(model, retention.toward_start, new=[*new(), *adapters.added()])),
        after_update=adapters.after_update(plan.steps),
    )
    return Fitted(model, adapters, restore, progress, costs(progress, device, bytes_before))


def write(fitted: Fitted, out: Path, save: Callable[[Any], None], **record: Any) -> dict[str, float]:
    """Let ``save`` write the whole model, moved to the CPU, and write the training's history as ``training.json``.

    record: more entries of that file. Returns the costs, with the number of trained weights and the checkpoint's bytes.
    """
    whole = fitted.restore()
    if processes.leads():
        save(whole.cpu())
        record |= {"best_step": fitted.progress.best_step, "history": fitted.progress.history}
        (out / "training.json").write_text(json.dumps(record) + "\n")
    cost = {**fitted.cost, "trainable_parameters": float(trainable_parameters(fitted.model))}
    if processes.leads():
        cost["checkpoint_bytes"] = float(fitted.adapters.bytes_beside_base(out))
    return cost
