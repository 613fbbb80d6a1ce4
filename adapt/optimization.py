"""Learning-rate schedules and AdamW's parameter groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from adapt.config import OptimizerConfig

VERSION = 1


def learning_rate_shape(config: OptimizerConfig, steps: int) -> Callable[[int], float]:
    """The factor on the learning rate at a step: linear warm-up, then linear or cosine decay to 0, or constant."""
    warmup = round(config.warmup_fraction * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = (step - warmup) / max(1, steps - warmup)
        return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[
            config.schedule
        ]

    return factor


def decay_groups(model: nn.Module, head: nn.Module | None, head_learning_rate: float | None) -> list[dict[str, Any]]:
    """Trainable parameters as AdamW groups: no weight decay on biases and norms, the head with its own rate."""
    in_head = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in in_head, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            **({} if decays else {"weight_decay": 0.0}),
            **({"lr": head_learning_rate} if is_head and head_learning_rate is not None else {}),
        }
        for (is_head, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
