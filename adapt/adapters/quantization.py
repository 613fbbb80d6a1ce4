"""A frozen base in 4 or 8 bits, by bitsandbytes: the linear layers of its layer stacks, replaced in place."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from adapt.adapters import bits
from adapt.config import ConfigError

KEY_NAME = "adapters.quantization"
VERSION = 1


def check(key: str, quantization: str | None) -> None:
    """Refuse a quantised base where its package is missing. Raises ConfigError."""
    if quantization is not None and importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"{key}.quantization={quantization}: needs bitsandbytes; pip install 'adapt[quantized]', or set it to null"
        )


def quantize(network: nn.Module, quantization: str, unquantized: Iterable[str]) -> None:
    """Replace the linear layers of the network's layer stacks by NF4 or int8 ones; inputs and outputs stay as they are.

    unquantized: the names of modules that keep their precision, with all that is in them. Raises ConfigError where no
    layer is left to quantise.
    """
    in_bits = {"nf4": bits.nf4, "int8": bits.int8}[quantization]
    prefix = f"{getattr(network, 'base_model_prefix', '')}."
    keep = [name.removeprefix(prefix) for name in unquantized]
    replaced = False
    for name, layer in bits.linear_layers(network).items():
        inner = name.removeprefix(prefix)
        if any(inner == one or inner.startswith(f"{one}.") for one in keep):
            continue
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, in_bits(layer))
        replaced = True
    if not replaced:
        raise ConfigError(f"quantization={quantization}: {type(network).__name__} has no nn.Linear to quantise")
    encoder = getattr(network, "base_model", network)
    setattr(encoder, "is_loaded_in_4bit" if quantization == "nf4" else "is_loaded_in_8bit", True)  # where peft looks


def is_quantized(layer: nn.Module) -> bool:
    """Whether a linear layer's weights are in 4 or 8 bits."""
    return any(kind.__module__.startswith("bitsandbytes.") for kind in type(layer).__mro__)


def dequantized(layer: Any) -> nn.Linear:
    """The layer in float32, with the values that its 4 or 8 bits stand for."""
    from peft.utils.integrations import dequantize_bnb_weight

    weight = dequantize_bnb_weight(layer.weight, state=getattr(layer, "state", None)).float()
    new = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device=weight.device)
    new.weight = nn.Parameter(weight)
    if layer.bias is not None:
        new.bias = nn.Parameter(layer.bias.float())  # bitsandbytes rounds it as it computes
    return new


def no_new_pooler(config: Any) -> dict[str, bool]:
    """The argument that loads a quantised model without a pooler: transformers (5.23) cannot make a new one there."""
    quantized = getattr(config, "quantization_config", None) is not None
    architecture: Any = MODEL_MAPPING[type(config)]
    has_one = "add_pooling_layer" in inspect.signature(architecture).parameters
    return {"add_pooling_layer": False} if quantized and has_one else {}
