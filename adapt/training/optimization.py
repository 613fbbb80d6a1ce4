"""Learning-rate schedules and AdamW's parameter groups."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from adapt.config import OptimizerConfig
from adapt.training.retention import layer_numbers

KEY_NAME = "training.optimization"
VERSION = 1


def learning_rate_shape(config: OptimizerConfig, steps: int) -> Callable[[int], float]:
    """The factor of the learning rate at a step: linear warm-up, then linear or cosine decay to 0, or constant."""
    warmup = round(config.warmup_fraction * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = (step - warmup) / max(1, steps - warmup)
        return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[
            config.schedule
        ]

    return factor


def decay_groups(
    model: nn.Module,
    head: nn.Module | None,
    head_learning_rate: float | None,
    *,
    layer_decay: float = 1.0,
    learning_rate: float | None = None,
) -> list[dict[str, Any]]:
    """AdamW groups of the trainable parameters: no weight decay on biases and norms, a learning rate for the head.

    layer_decay: below 1, layer l of L trains at ``learning_rate * layer_decay ** (L + 1 - l)``. The embeddings are
    layer 0; everything above the layers is layer L + 1, including a head without a rate of its own (Howard & Ruder,
    2018, section 3.2; Clark et al., 2020, appendix A). Layers are counted by ``retention.layer_numbers``.
    """
    in_head = {id(parameter) for parameter in head.parameters()} if head is not None else set()
    numbers = layer_numbers(model) if layer_decay != 1 else {}
    top = max(numbers.values(), default=0)
    groups: dict[tuple[bool, int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (id(parameter) in in_head, top - numbers.get(name, top), parameter.ndim >= 2)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            **({} if decays else {"weight_decay": 0.0}),
            **({"lr": learning_rate * layer_decay**below} if learning_rate is not None and below else {}),
            **({"lr": head_learning_rate} if is_head and head_learning_rate is not None else {}),
        }
        for (is_head, below, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
