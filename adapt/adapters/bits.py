"""Which linear layers of a model can be quantised to 4 or 8 bits, and how bitsandbytes quantises one.

Only the keys of stages on a quantised base hold this VERSION (adapt.runs.pipeline): a change here retrains no others.
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

    Layers outside the stacks keep their precision: poolers and heads, which may be new and are trained in full, the
    output matrix, projections of embeddings. So do subclasses of nn.Linear, whose owner may read the weight directly.
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

    On a CPU with AVX512-BF16, bitsandbytes (0.50.2) repacks them at the first pass outside training. It then fails an
    assertion if a layer's number of outputs is not a multiple of 32, and code that reads the bits in their stored
    layout (a merge, an adapter's own pass) reads wrong values.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - no attribute of nn.Module


def int8(layer: nn.Linear) -> nn.Module:
    """The layer in int8, and its inputs except features of THRESHOLD or more (Dettmers et al., 2022, section 3.2).

    Those features are multiplied in the inputs' own precision. In both parts, the gradient is that of the dequantised
    weights. During training on a CPU, bitsandbytes (0.50) rounds no inputs at all.
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
    """bitsandbytes' 8-bit linear layer, made safe to move to another device after it was quantised.

    bitsandbytes (0.50) moves the scales only if ``to`` is called on the layer itself. If it is called on the whole
    model, torch moves the tensors, and the weights arrive on the GPU without their scales. The layer also keeps its
    scales when peft (0.21) replaces the weight without them, as DoRA does in each pass on a CPU.
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
