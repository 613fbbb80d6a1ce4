"""Bottleneck adapters: a small network with a skip connection after a sublayer, added by forward hooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from peft import PeftConfig
from torch import Tensor, nn

from adapt.config import key
from adapt.training.retention import layer_stacks

KEY_NAME = "adapters.bottleneck"
VERSION = 1
NAME = "bottleneck"


@dataclass
class BottleneckConfig(PeftConfig):
    """Houlsby et al. (2019), figure 2: after each of ``target_modules``, h + W_up gelu(W_down h), W_down to ``size``.

    norms: also train the layers' normalisations, as in their section 2.1; Pfeiffer et al. (2021) keep those frozen.
    """

    size: int = key(at_least=1, default=64)
    target_modules: list[str] | None = field(default=None)
    norms: bool = field(default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = "BOTTLENECK"


class Bottleneck(nn.Module):
    """Starts close to the identity: weights from N(0, 1e-4) truncated at two sd, biases 0 (their section 3.6)."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=1e-2, a=-2e-2, b=2e-2)
            nn.init.zeros_(layer.bias)

    def after(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        """A forward hook: the sublayer's output [B, L, H] plus the bottleneck's."""
        return output + self.up(torch.nn.functional.gelu(self.down(output)))


def put_after(encoder: nn.Module, adapter: str, config: BottleneckConfig) -> None:
    """Put a bottleneck after each layer that the config names, as a child module of that layer."""
    for name in config.target_modules or []:
        layer = encoder.get_submodule(name)
        if NAME not in dict(layer.named_children()):
            layer.add_module(NAME, nn.ModuleDict())
        bottleneck = Bottleneck(width_of(layer), config.size)
        cast(nn.ModuleDict, layer.get_submodule(NAME))[adapter] = bottleneck
        layer.register_forward_hook(bottleneck.after)


def width_of(layer: nn.Module) -> int:
    """The width of a linear layer's output, also if peft wraps it or it is transposed (GPT-2's Conv1D)."""
    features: Any = getattr(layer, "out_features", None)
    return int(layer.nf if features is None else features)  # type: ignore[arg-type]


def layer_norms(encoder: nn.Module) -> list[str]:
    """The names of the weights of all normalisations in the encoder's layers."""
    inside = {id(module) for stack in layer_stacks(encoder) for layer in stack for module in layer.modules()}
    return [
        f"{name}.{own}"
        for name, module in encoder.named_modules()
        if id(module) in inside and "norm" in type(module).__name__.lower()
        for own, _ in module.named_parameters(recurse=False)
    ]
