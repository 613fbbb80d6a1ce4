"""How each method is put on a model, which weights are its own, and how it is folded into the base."""

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
IN_FLOAT = {AdaLoraLayer: SVDLinear, LoraLayer: LoraLinear, IA3Layer: IA3Linear}  # of each kind, the more special first
PREFIXES = {"IA3": "ia3_", "VERA": "vera_lambda_"}  # of the names of weights that peft's layers add; others: lora_


@dataclass
class Adapter:
    """One learned change of a base.

    name: ``adapter<n>``, by which its weights are known. whole: the names, within the transformers model, of weights of
    the model's own that it trains (biases, norms, heads). tuner: peft's object, where it has one.
    """

    name: str
    config: PeftConfig
    whole: list[str] = field(default_factory=list)
    tuner: Any = None
    source: Path | None = None  # the folder that it was read from

    @property
    def is_virtual(self) -> bool:
        """Whether it is virtual tokens before the text."""
        return self.config.is_prompt_learning

    def owns(self, name: str) -> bool:
        """Whether a weight of the model, by its name, was added by this adapter."""
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
    """peft's word for the method, such as LORA."""
    return str(getattr(config.peft_type, "value", config.peft_type))


def mergeable(config: PeftConfig) -> bool:
    """Whether what the method learns is a change of weights that the base has, so that it can be folded into them."""
    return not (config.is_prompt_learning or config.is_adaption_prompt or isinstance(config, BottleneckConfig))


def core_of(network: PreTrainedModel) -> PreTrainedModel:
    """The module that turns token ids into states in every pass: OPT's language model calls what its base wraps."""
    base = cast(PreTrainedModel, network.base_model)
    return cast(PreTrainedModel, base.get_decoder()) if base.config.model_type == "opt" else base


def put_on(network: PreTrainedModel, adapter: Adapter, learned: Tensor | None = None) -> None:
    """Add the adapter to the model, its new weights from torch's current random state.

    learned: of a prompt or prefix, what it was when it was saved. Raises ValueError where peft does.
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
    """Of names within the base model those of its own weights, as names within the whole model; wrappers left out."""
    prefix = "" if network.base_model is network else f"{network.base_model_prefix}."
    return [prefix + plain(name) for name in names if not re.search(r"\.adapter\d+(\.|$)", name)]


def plain(name: str) -> str:
    """A weight's name as if nothing wrapped its layer."""
    return WRAPPED.sub("", name)


def inject(base: PreTrainedModel, adapter: Adapter) -> None:
    """Let peft wrap the layers that the config targets, and keep what was learned before active beside it."""
    if hasattr(adapter.config, "fan_in_fan_out"):  # peft would find out by itself, and warn
        adapter.config.fan_in_fan_out = any(isinstance(module, Conv1D) for module in base.modules())
    tuner_class: Any = PEFT_TYPE_TO_TUNER_MAPPING[adapter.config.peft_type]  # type: ignore[index]
    adapter.tuner = tuner_class(base, adapter.config, adapter_name=adapter.name)
    cast_adapter_dtype(base, adapter.name)  # as get_peft_model does; over NF4 it is bf16, which loses small steps
    for module in base.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(names_of(module))


def names_of(layer: BaseTunerLayer) -> list[str]:
    """The adapters of one of peft's layers, oldest first."""
    found = {str(name) for own in layer.adapter_layer_names for name in getattr(layer, own)}
    return sorted(found, key=lambda name: int(name.removeprefix("adapter")))


@torch.no_grad()
def fold(base: Any) -> None:
    """Fold all that peft's layers have learned into the weights under them, and take those layers out again.

    A quantised base becomes float32, of the values that its bits stand for.
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
    """The layer under one of peft's, with its change."""
    if quantization.is_quantized(layer.base_layer):
        layer.base_layer = quantization.dequantized(layer.base_layer)
        layer.quantization_backend = None  # by which VeRA's would read the weight
    if type(layer).__module__.endswith(".bnb"):  # whose merge rounds once more to the bits, or is not there
        layer.__class__ = next(kind for own, kind in IN_FLOAT.items() if isinstance(layer, own))
        layer.fan_in_fan_out = False  # as of every nn.Linear
    layer.merge(safe_merge=True, adapter_names=names_of(layer))
    under: nn.Module = layer.base_layer
    return under
