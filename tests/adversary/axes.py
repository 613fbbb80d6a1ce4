"""The axes that every method must stand: architecture, PEFT, accumulation, checkpointing, precision, processes.

A case is one value of each axis. ``covering(2)`` is a small set of cases in which every two values of two axes meet.
"""

from __future__ import annotations

import itertools
import random
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from adversaries import ARCHITECTURES, MASKED_LMS, OBJECTIVES, OPTIONS, Adversary, Run, batch_for, pick, read, run, tiny
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from adapt.training.processes import together
from adapt.training.sharding import distribute, gathered

AXES: dict[str, tuple[Any, ...]] = {
    "method": tuple(file.stem for file in OPTIONS),
    "architecture": ARCHITECTURES,
    "objective": tuple(OBJECTIVES),
    "peft": ("full", "lora"),
    "cut": ((16,), (4, 4, 4, 4), (3, 13)),
    "checkpointing": (False, True),
    "precision": ("float32", "bf16"),
    "processes": (1, 2, "2 sharded"),
}


@dataclass(frozen=True)
class Case:
    """One value of each axis."""

    method: str
    architecture: str
    objective: str
    peft: str
    cut: tuple[int, ...]
    checkpointing: bool
    precision: str
    processes: int | str

    def __str__(self) -> str:
        cut = "+".join(map(str, self.cut))
        checkpointing = "checkpointing" if self.checkpointing else "no-checkpointing"
        names = (self.method, self.architecture, self.objective, self.peft, cut, checkpointing, self.precision)
        return "-".join([*names, f"{self.processes}p".replace(" ", "-")])

    @property
    def plain(self) -> Case:
        """The same model and method in one process, one batch, nothing recomputed."""
        return Case(
            self.method, self.architecture, self.objective, self.peft, (16,), False, self.precision, processes=1
        )


def possible(values: dict[str, Any]) -> bool:
    """Decoders and encoder-decoders have no masked-LM head, and transformers cannot checkpoint ALBERT and MPNet."""
    if values.get("checkpointing") and values.get("architecture") in ("albert", "mpnet"):
        return False
    return values.get("objective") != "masked_lm" or values.get("architecture", "bert") in MASKED_LMS


def covering(strength: int) -> list[Case]:
    """Cases in which every ``strength`` values of as many axes meet, as far as they are possible together.

    Greedy: each case starts from values that have not met yet and is the fullest of new ones among random draws. Of
    draws with as many new ones it takes one of one process: two have them too, but cost ten times as much.
    """
    draw = random.Random(0)
    names = list(AXES)
    unmet = {
        values
        for axes in itertools.combinations(names, strength)
        for values in itertools.product(*([(name, value) for value in AXES[name]] for name in axes))
        if possible(dict(values))
    }
    cases = []
    for start in sorted(unmet, key=str):
        while start in unmet:
            drawn = [{name: draw.choice(AXES[name]) for name in names} | dict(start) for _ in range(60)]
            drawn = [{name: values[name] for name in names} for values in drawn if possible(values)]
            best = max(
                drawn,
                key=lambda values: (len(unmet & together_in(values, strength)), values["processes"] == 1),
                default=None,
            )
            if best is not None:
                unmet -= together_in(best, strength)
                cases.append(Case(**best))
    return cases


def together_in(values: dict[str, Any], strength: int) -> set[Any]:
    """What meets in a case: every ``strength`` of its values, each with its axis."""
    return set(itertools.combinations(values.items(), strength))


def model_of(case: Case) -> nn.Module:
    """A tiny random model of the case's architecture, with LoRA and checkpointing where the case has them."""
    model = tiny(case.architecture, case.objective)
    if case.peft == "lora":
        add_lora(model)
    if case.checkpointing:
        model.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def add_lora(model: nn.Module) -> None:
    """LoRA (Hu et al., 2022) of rank 2 on every linear layer of the encoder; of the rest only the head is trained."""
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    encoder = model.encoder
    inside = {id(parameter) for parameter in encoder.parameters()}
    targets = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear | Conv1D)]
    torch.manual_seed(1)
    inject_adapter_in_model(LoraConfig(r=2, target_modules=targets, init_lora_weights=False), encoder)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name or id(parameter) not in inside)


def brief(adversary: Adversary) -> Adversary:
    """With three inner steps where it has more: each multiplies what another order of sums has rounded otherwise."""
    steps = adversary.method.keywords.get("num_steps", 0)
    return replace(adversary, method=partial(adversary.method, num_steps=3)) if steps > 3 else adversary


def step_of(case: Case, rank: int = 0) -> Run:
    """One step of the case; under two processes, the half of its batch that belongs to ``rank``."""
    model, batch = model_of(case), batch_for(case.objective)
    rows = list(range(16))
    if case.processes != 1:
        rows = rows[8 * rank : 8 * rank + 8]
    if case.precision == "bf16":  # of a pass, as accelerate has it
        model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    if case.processes == 2:
        model = DistributedDataParallel(model, forward_sync_buffers=False)
    sizes = case.cut if case.processes == 1 else (3, 5) if len(case.cut) > 1 else (8,)
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    pieces = [pick(batch, rows[start : start + size]) for start, size in zip(starts, sizes, strict=True)]
    with together() if case.processes != 1 else nullcontext():
        distribute(model, SimpleNamespace(shard=case.processes == "2 sharded"))
        outcome = run(brief(read(case.method).visible()), model, OBJECTIVES[case.objective], pieces)
    outcome.gradients = {name.removeprefix("module."): gathered(value) for name, value in outcome.gradients.items()}
    return outcome
