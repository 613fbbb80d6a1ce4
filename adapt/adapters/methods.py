"""How each method is put on a model, which weights belong to it, and how it is merged into the base."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from peft import AdaptionPromptConfig, PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.adalora.layer import AdaLoraLayer, SVDLinear
from peft.tuners.adaption_prompt import AdaptionPromptModel
from peft.tuners.ia3.layer import IA3Layer
from peft.tuners.ia3.layer import Linear as IA3Linear
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.lora.layer import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer, cast_adapter_dtype
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from adapt.adapters import bottleneck, quantization, selective, virtual_tokens
from adapt.adapters.bottleneck import BottleneckConfig
from adapt.adapters.selective import BitFitConfig, HeadConfig

KEY_NAME = "adapters.methods"
VERSION = 1
WRAPPED = re.compile(r"\.base_layer(?=\.|$)|(?<=attn)\.model(?=\.)")  # what a wrapper adds to the name of a weight
IN_FLOAT = {AdaLoraLayer: SVDLinear, LoraLayer: LoraLinear, IA3Layer: IA3Linear}  # float classes; subclasses first
PREFIXES = {"IA3": "ia3_", "VERA": "vera_lambda_"}  # of the names of weights that peft's layers add; others: lora_


@dataclass
class Adapter:
    """One learned change of a base.

    name: ``adapter<n>``, which marks its weights. whole: the names, within the transformers model, of the model's own
    weights that it trains (biases, norms, heads). tuner: peft's object, where there is one.
    """

    name: str
    config: PeftConfig
    whole: list[str] = field(default_factory=list)
    tuner: Any = None
    source: Path | None = None  # the folder that it was read from

    @property
    def is_virtual(self) -> bool:
        """Whether it consists of virtual tokens before the text."""
        return self.config.is_prompt_learning

    def owns(self, name: str) -> bool:
        """Whether the weight of that name was added by this adapter."""
        if self.config.is_adaption_prompt:
            return name.endswith(("adaption_prompt", "adaption_gate"))
        if f".{self.name}." not in f"{name}.":
            return False
        if self.is_virtual:
            return f"{virtual_tokens.NAME}." in name
        if isinstance(self.config, BottleneckConfig):
            return f".{bottleneck.NAME}." in name
        return PREFIXES.get(kind(self.config), "lora_") in name


def kind(config: PeftConfig) -> str:
    """peft's name for the method, such as LORA."""
    return str(getattr(config.peft_type, "value", config.peft_type))


def mergeable(config: PeftConfig) -> bool:
    """Whether the method learns a change of the base's weights, so that it can be merged into them."""
    return not (config.is_prompt_learning or config.is_adaption_prompt or isinstance(config, BottleneckConfig))


def core_of(network: PreTrainedModel) -> PreTrainedModel:
    """The module that turns token ids into states in every pass: in OPT the decoder, which the language model calls."""
    base = cast(PreTrainedModel, network.base_model)
    return cast(PreTrainedModel, base.get_decoder()) if base.config.model_type == "opt" else base


def put_on(network: PreTrainedModel, adapter: Adapter, learned: Tensor | None = None) -> None:
    """Add the adapter to the model; its new weights are drawn from torch's current random state.

    learned: the saved values of a prompt or prefix. Raises ValueError where peft does.
    """
    config, base = adapter.config, cast(PreTrainedModel, network.base_model)
    if adapter.is_virtual:
        virtual_tokens.put_before(core_of(network), adapter.name, config, learned)
    elif isinstance(config, AdaptionPromptConfig):
        parents = sum(name.endswith((".self_attn", ".attn")) for name, _ in base.named_modules())
        config.adapter_layers = min(config.adapter_layers, parents)
        AdaptionPromptModel(base, {adapter.name: config}, adapter.name)
    elif isinstance(config, BottleneckConfig):
        bottleneck.put_after(base, adapter.name, config)
        adapter.whole += own_weights(network, bottleneck.layer_norms(base)) if config.norms else []
    elif isinstance(config, BitFitConfig):
        adapter.whole += own_weights(network, selective.biases(base))
    elif not isinstance(config, HeadConfig):
        inject(base, adapter)


def own_weights(network: PreTrainedModel, names: list[str]) -> list[str]:
    """The names, within the whole model, of those weights among ``names`` (of the base model) that no adapter added."""
    prefix = "" if network.base_model is network else f"{network.base_model_prefix}."
    return [prefix + plain(name) for name in names if not re.search(r"\.adapter\d+(\.|$)", name)]


def plain(name: str) -> str:
    """A weight's name as if nothing wrapped its layer."""
    return WRAPPED.sub("", name)


def inject(base: PreTrainedModel, adapter: Adapter) -> None:
    """Let peft wrap the layers that the config targets, and keep earlier adapters active beside the new one."""
    if hasattr(adapter.config, "fan_in_fan_out"):  # otherwise peft detects this itself, with a warning
        adapter.config.fan_in_fan_out = any(isinstance(module, Conv1D) for module in base.modules())
    tuner_class: Any = PEFT_TYPE_TO_TUNER_MAPPING[adapter.config.peft_type]  # type: ignore[index]
    adapter.tuner = tuner_class(base, adapter.config, adapter_name=adapter.name)
    cast_adapter_dtype(base, adapter.name)  # to float32, as get_peft_model does: over NF4 it is bf16, too coarse
    for module in base.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(names_of(module))


def names_of(layer: BaseTunerLayer) -> list[str]:
    """The adapters of one of peft's layers, oldest first."""
    names = {str(name) for own in layer.adapter_layer_names for name in getattr(layer, own)}
    return sorted(names, key=lambda name: int(name.removeprefix("adapter")))


@torch.no_grad()
def fold(base: Any) -> None:
    """Merge what peft's layers have learned into the weights under them, and remove those layers.

    A quantised base becomes float32, with the dequantised values.
    """

    def innermost(layer: Any) -> bool:
        return layer_of_peft(layer) and not layer_of_peft(layer.base_layer)

    while layers := [(name, module) for name, module in base.named_modules() if innermost(module)]:
        for name, layer in layers:
            parent, _, own = name.rpartition(".")
            setattr(base.get_submodule(parent), own, folded(layer))
    for name, module in list(base.named_modules()):
        if quantization.is_quantized(module):
            parent, _, own = name.rpartition(".")
            setattr(base.get_submodule(parent), own, quantization.dequantized(module))


def layer_of_peft(module: Any) -> bool:
    """Whether peft has put the module around another."""
    return isinstance(module, BaseTunerLayer)


def folded(layer: Any) -> nn.Module:
    """The layer under one of peft's layers, with the adapters merged into it."""
    if quantization.is_quantized(layer.base_layer):
        layer.base_layer = quantization.dequantized(layer.base_layer)
        layer.quantization_backend = None  # otherwise VeRA's layer would still read the weight as quantised
    if type(layer).__module__.endswith(".bnb"):  # its merge rounds to the bits once more, or does not exist
        layer.__class__ = next(kind for own, kind in IN_FLOAT.items() if isinstance(layer, own))
        layer.fan_in_fan_out = False  # as for every nn.Linear
    layer.merge(safe_merge=True, adapter_names=names_of(layer))
    under: nn.Module = layer.base_layer
    return under
