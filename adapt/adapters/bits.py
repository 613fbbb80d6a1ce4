"""Which linear layers of a model can be in 4 or 8 bits, and one of them in bits, by bitsandbytes.

Only the keys of stages on a quantised base know the VERSION (adapt.runs.pipeline): a change here retrains no others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn

from adapt.training.retention import layer_stacks

KEY_NAME = "adapters.bits"
VERSION = 2
THRESHOLD = 6.0


def linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of the base model's layer stacks, by their names in the network.

    What is outside of the stacks keeps its precision: poolers and heads, which may be new and are trained whole, the
    output matrix, projections of embeddings. So does a subclass, whose owner may read its weight by itself.
    """
    base: Any = getattr(network, "base_model", network)
    inside = {id(module) for stack in layer_stacks(base) for module in stack.modules()}
    return {
        name: module for name, module in network.named_modules() if type(module) is nn.Linear and id(module) in inside
    }


def nf4(layer: nn.Linear) -> nn.Module:
    """The layer in NF4 with double quantisation, computed in bf16 (Dettmers et al., 2023, section 3)."""
    import bitsandbytes as bnb

    settings: dict[str, Any] = {"quant_type": "nf4", "compress_statistics": True}
    new: Any = bnb.nn.Linear4bit(
        layer.in_features, layer.out_features, layer.bias is not None, torch.bfloat16, **settings
    )
    new.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, **settings)
    new.bias = layer.bias
    keep_layout(new)
    return new.to(layer.weight.device)


def keep_layout(network: nn.Module) -> None:
    """Keep the weights of NF4 layers in the layout that they are stored in, on every CPU.

    Where the CPU knows AVX512-BF16, bitsandbytes (0.50.2) packs them anew at the first pass outside of training. It
    then stops with an assertion where a layer's outputs are no multiple of 32, and what reads the bits in their stored
    layout (a merge, an adapter's own pass) no longer finds it.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - no attribute of nn.Module


def int8(layer: nn.Linear) -> nn.Module:
    """The layer in int8, its inputs too, but for features of THRESHOLD or more (Dettmers et al., 2022, section 3.2).

    Those are multiplied in the inputs' own precision. The gradient is that of the weights as their bits stand for, in
    both parts. While it is trained on a CPU, bitsandbytes (0.50) rounds no input at all.
    """
    import bitsandbytes as bnb

    new: Any = int8_linear()(
        layer.in_features, layer.out_features, layer.bias is not None, has_fp16_weights=False, threshold=THRESHOLD
    )
    new.weight = bnb.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    new.bias = layer.bias
    return new.to(layer.weight.device)


@cache
def int8_linear() -> type[nn.Module]:
    """bitsandbytes' linear layer in 8 bits, which may be moved after it was quantised, within a model too.

    It keeps its scales where peft (0.21) makes the weight anew without them, as DoRA does in each pass on a CPU.
    bitsandbytes (0.50) takes the scales along where the layer itself is asked to move. Of a model that moves, torch
    moves the tensors, and the weights come to lie on the GPU without their scales.
    """
    import bitsandbytes as bnb

    class Linear8bit(bnb.nn.Linear8bitLt):
        def init_8bit_state(self) -> None:
            scales = self.state.SCB
            super().init_8bit_state()
            self.state.SCB = scales if self.state.SCB is None else self.state.SCB

        def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
            moved = super()._apply(fn, recurse)
            holders: tuple[Any, ...] = (self.weight, self.state)
            for holder in holders:
                if holder.CB is not None:
                    holder.CB = self.weight.data
                if holder.SCB is not None:
                    holder.SCB = fn(holder.SCB)
            return moved

    return Linear8bit
