"""A frozen base in 4 or 8 bits, by bitsandbytes: its linear layers, but for heads, replaced in place."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from adapt.config import ConfigError

VERSION = 1


def check(key: str, quantization: str | None) -> None:
    """Refuse a quantised base where its package is missing. Raises ConfigError."""
    if quantization is not None and importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"{key}.quantization={quantization}: needs bitsandbytes; pip install 'adapt[quantized]', or set it to null"
        )


def quantize(network: nn.Module, quantization: str, unquantized: Iterable[str]) -> None:
    """Put the weights of the network's linear layers into NF4 with double quantisation, or into int8.

    NF4 is computed in bf16 (Dettmers et al., 2023); the layers' inputs and outputs keep their precision. What is called
    as ``unquantized``, or lies in it, stays, and so does the output matrix. Raises ConfigError where there is no layer.
    """
    import bitsandbytes as bnb

    keep = [name.removeprefix(f"{getattr(network, 'base_model_prefix', '')}.") for name in unquantized]
    output = getattr(network, "get_output_embeddings", lambda: None)()
    found = False
    for name, layer in list(network.named_modules()):
        inner = name.removeprefix(f"{getattr(network, 'base_model_prefix', '')}.")
        kept = any(inner == one or inner.startswith(f"{one}.") for one in keep)
        if type(layer) is not nn.Linear or kept or layer is output:
            continue
        shape, bias = (layer.in_features, layer.out_features), layer.bias is not None
        if quantization == "nf4":
            new: Any = bnb.nn.Linear4bit(*shape, bias, torch.bfloat16, quant_type="nf4", compress_statistics=True)
            new.weight = bnb.nn.Params4bit(
                layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True
            )
        else:
            new = int8_linear()(*shape, bias, has_fp16_weights=False)
            new.weight = bnb.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
        new.bias = layer.bias
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, new.to(layer.weight.device))
        found = True
    if not found:
        raise ConfigError(f"quantization={quantization}: {type(network).__name__} has no nn.Linear to quantise")
    encoder = getattr(network, "base_model", network)
    setattr(encoder, "is_loaded_in_4bit" if quantization == "nf4" else "is_loaded_in_8bit", True)  # where peft looks


@cache
def int8_linear() -> type[nn.Module]:
    """bitsandbytes' linear layer in 8 bits, which may be moved after it was quantised, within a model too.

    bitsandbytes (0.50) takes the scales along where the layer itself is asked to move. Of a model that moves, torch
    moves the tensors, and the weights come to lie on the GPU without their scales.
    """
    import bitsandbytes as bnb

    class Linear8bit(bnb.nn.Linear8bitLt):
        def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
            moved = super()._apply(fn, recurse)
            for holder in (self.weight, self.state):
                if holder.CB is not None:
                    holder.CB = self.weight.data
                if holder.SCB is not None:
                    holder.SCB = fn(holder.SCB)
            return moved

    return Linear8bit


def is_quantized(layer: nn.Module) -> bool:
    """Whether a linear layer's weights are in 4 or 8 bits."""
    return any(kind.__module__.startswith("bitsandbytes.") for kind in type(layer).__mro__)


def dequantized(layer: Any, added: torch.Tensor | None = None) -> nn.Linear:
    """The layer with weights as its 4 or 8 bits stand for, in float32, plus ``added``."""
    from peft.utils.integrations import dequantize_bnb_weight

    weight = dequantize_bnb_weight(layer.weight, state=getattr(layer, "state", None)).float()
    new = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device=weight.device)
    new.weight = nn.Parameter(weight if added is None else weight + added.float())
    if layer.bias is not None:
        new.bias = nn.Parameter(layer.bias.float())  # bitsandbytes rounds it as it computes
    return new


def no_new_pooler(config: Any) -> dict[str, bool]:
    """What keeps a pooler from being made over 8 or 4 bits, where transformers cannot draw new weights (5.23)."""
    quantized = getattr(config, "quantization_config", None) is not None
    architecture: Any = MODEL_MAPPING[type(config)]
    has_one = "add_pooling_layer" in inspect.signature(architecture).parameters
    return {"add_pooling_layer": False} if quantized and has_one else {}
