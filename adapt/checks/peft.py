"""Refuse parameter-efficient methods that cannot do what a run needs, by their settings only: no torch, no model."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from adapt.checks.values import check_value
from adapt.config import Config, ConfigError, PeftConfig, Range, suggestion
from adapt.data.masking.strategies import SELECTIVE

PREFIX = "peft.PrefixTuningConfig"
VIRTUAL = (PREFIX, "peft.PromptTuningConfig", "peft.PromptEncoderConfig")
LLAMA_ADAPTER = "peft.AdaptionPromptConfig"
ALLOCATING = "peft.AdaLoraConfig"
VERA = "peft.VeraConfig"
WRAPPING = (VERA, ALLOCATING, "peft.LoraConfig", "peft.IA3Config")
OF_HEADS, OF_BIASES = "adapt.adapters.selective.HeadConfig", "adapt.adapters.selective.BitFitConfig"
NOT_MERGEABLE = (*VIRTUAL, LLAMA_ADAPTER, "adapt.adapters.bottleneck.BottleneckConfig")
UNQUANTIZED = (OF_BIASES, ALLOCATING)  # cannot be put on a base in 4 or 8 bits
# Settings of the peft package's own configs that must be 1 or more
AT_LEAST_ONE = ("r", "init_r", "target_r", "num_virtual_tokens", "adapter_len", "adapter_layers", "deltaT")
# Settings of peft's configs for weights outside the adapter, which a stage freezes anyway -> what to use instead
WITHOUT_EFFECT = {
    "bias": "peft=bitfit trains the bias terms",
    "modules_to_save": "heads are trained under every method; peft=full trains the other modules",
    "trainable_token_indices": "peft=full trains the embeddings",
    "target_parameters": "name linear layers under target_modules",
    "layers_to_transform": "name the layers under target_modules, such as layer.1.attention.self.query",
}


def target(peft: PeftConfig) -> str | None:
    """The dotted name of the class of a method's config; None where all weights are trained."""
    return None if peft.method is None else str(peft.method.get("_target_"))


def check_peft(cfg: Config) -> None:
    """Refuse a method that does not fit its base, the adapter of the stage before, or the run's other settings.

    Raises ConfigError.
    """
    for key, peft in {"peft": cfg.peft, "pretrain_peft": cfg.pretrain_peft}.items():
        check_method(key, peft, probed=key == "peft" and is_probe(cfg))
    if cfg.peft.method is not None and cfg.model.format == "tfidf":
        raise ConfigError(f"peft={cfg.peft.name}: model=tfidf has no layers to adapt; use it with peft=full")
    if cfg.peft.method is not None and is_probe(cfg):
        raise ConfigError(
            f"peft={cfg.peft.name}: finetune=linear_probe trains nothing of the model; peft=head_only trains a head by "
            "gradient, with finetune=full"
        )
    parts: dict[str, tuple[PeftConfig, Any]] = {"finetune": (cfg.peft, cfg.finetune)}
    parts |= {f"pretrain.{name}": (cfg.pretrain_peft, stage) for name, stage in cfg.pretrain.items()}
    for part, (peft, stage) in parts.items():
        check_stage(cfg, part, peft, stage)
    if cfg.pretrain and cfg.pretrain_peft.method is not None:
        check_inheritance(cfg)
        check_vocabulary(cfg)


def is_probe(cfg: Config) -> bool:
    """Whether fine-tuning trains nothing of the model, including its adapters."""
    return cfg.finetune.method == "linear_probe"


def check_method(key: str, peft: PeftConfig, *, probed: bool) -> None:
    """Refuse to quantise a base that is trained, and to train all weights on top of an adapter."""
    for name in AT_LEAST_ONE:
        check_value(f"{key}.method.{name}", (peft.method or {}).get(name), Range(at_least=1))
    if peft.method is None and peft.quantization is not None:
        raise ConfigError(
            f"{key}.quantization={peft.quantization}: {key}={peft.name} trains the base itself; use {key}=qlora"
        )
    if peft.method is None and peft.inherit == "stack" and not probed:
        raise ConfigError(f"{key}.inherit=stack: {key}={peft.name} trains the base itself; possible are merge, drop")
    if peft.quantization is not None and target(peft) in UNQUANTIZED:
        raise ConfigError(
            f"{key}.quantization={peft.quantization}: not with {key}={peft.name}; possible are lora, ia3, vera, prompt"
        )


def check_stage(cfg: Config, part: str, peft: PeftConfig, stage: Any) -> None:
    """Refuse settings of a stage that do not go with its method."""
    method = target(peft)
    if method is None:
        return
    key = "peft" if part == "finetune" else "pretrain_peft"
    given = f"with {key}={peft.name}"
    trains_base = method == OF_BIASES or (peft.method or {}).get("norms")  # bottleneck_houlsby's norms are the base's
    if stage.retention.toward_start and not trains_base:
        raise ConfigError(
            f"{part}.retention.toward_start={stage.retention.toward_start}: {given} no weight of the base is trained, "
            "so none can be pulled back; set it to 0"
        )
    if stage.retention.frozen_layers and method in VIRTUAL:
        raise ConfigError(
            f"{part}.retention.frozen_layers={stage.retention.frozen_layers}: {given} what is trained lies below the "
            "layers; set it to 0"
        )
    if stage.retention.layer_decay != 1 and method in VIRTUAL:
        raise ConfigError(
            f"{part}.retention.layer_decay={stage.retention.layer_decay}: {given} what is trained lies below the "
            "layers, and would have the rate of the lowest; set it to 1"
        )
    if method == PREFIX and cfg.runtime.gradient_checkpointing:
        raise ConfigError(
            f"runtime.gradient_checkpointing=true: {given} transformers drops the prefix when it computes a layer "
            "again, and only the head would train; set it to false, or choose prompt or lora"
        )
    if method in VIRTUAL and getattr(stage, "packing", False):
        raise ConfigError(f"{part}.packing=true: {given} a packed text would not see its prompt; set it to false")
    if cfg.runtime.shard and (method == ALLOCATING or peft.quantization is not None):
        raise ConfigError(f"runtime.shard=true: not {given}; set it to false, or choose lora")


def check_inheritance(cfg: Config) -> None:
    """Refuse what a stage cannot do with the adapter of the stage before."""
    parent, names = target(cfg.pretrain_peft), list(cfg.pretrain)
    children = {"pretrain_peft": (cfg.pretrain_peft, names[1:]), "peft": (cfg.peft, ["fine-tuning"])}
    for key, (peft, stages) in children.items():
        if not stages:
            continue
        if peft.inherit == "merge" and parent in NOT_MERGEABLE:
            trains_base = peft.method is None and not (key == "peft" and is_probe(cfg))
            possible = "drop" if trains_base else "stack or drop"
            raise ConfigError(
                f"{key}.inherit=merge: what pretrain_peft={cfg.pretrain_peft.name} learns before {stages[0]} is no "
                f"change of the base's weights, and cannot be folded into them; set {key}.inherit to {possible}"
            )
        if peft.inherit == "stack" and peft.quantization not in (None, cfg.pretrain_peft.quantization):
            raise ConfigError(
                f"{key}.inherit=stack: what pretrain_peft={cfg.pretrain_peft.name} learns, it learns on another base "
                f"than one in {peft.quantization}; set it to merge or drop, or pretrain_peft.quantization to the same"
            )
        if peft.inherit == "stack" and cfg.pretrain_peft.quantization is not None and target(peft) in UNQUANTIZED:
            raise ConfigError(
                f"{key}.inherit=stack: the base stays in pretrain_peft.quantization={cfg.pretrain_peft.quantization}, "
                f"on which {key}={peft.name} cannot be; set it to merge or drop, or choose lora, ia3 or prompt"
            )
        if peft.inherit == "stack" and target(peft) == VERA and parent in WRAPPING:
            raise ConfigError(
                f"{key}.inherit=stack: peft puts {peft.name} around no layer that another method is around; set it to "
                "merge or drop"
            )
        if peft.inherit == "stack" and parent == LLAMA_ADAPTER == target(peft):
            raise ConfigError(f"{key}.inherit=stack: a llama_adapter stands on no other; set it to drop")
    selective = [name for name in names[1:] if cfg.pretrain[name].masking.strategy == SELECTIVE]
    if selective and parent in NOT_MERGEABLE:
        raise ConfigError(
            f"pretrain.{selective[0]}.masking.strategy=selective: its classifier is trained whole, and what "
            f"pretrain_peft={cfg.pretrain_peft.name} has learned by then cannot be merged; choose another of the two"
        )


def check_vocabulary(cfg: Config) -> None:
    """Refuse new tokens unless all weights are trained: no other method trains embeddings."""
    if cfg.vocabulary.new_tokens:
        raise ConfigError(
            f"vocabulary={cfg.vocabulary.name}: pretrain_peft={cfg.pretrain_peft.name} trains no embeddings, and those "
            "of the new tokens would stay the mean of their pieces; possible are pretrain_peft=full, vocabulary=none"
        )


def check_binding(key: str, settings: dict[str, Any] | None) -> None:
    """Refuse a target that is no config of a method, and settings that it lacks. Imports it, and torch with it."""
    if settings is None:
        return
    import importlib

    from peft import PeftConfig as MethodConfig

    module, _, name = str(settings.get("_target_")).rpartition(".")
    try:
        method = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}._target_={settings.get('_target_')}: there is no such class") from error
    if not (inspect.isclass(method) and issubclass(method, MethodConfig)):
        raise ConfigError(f"{key}._target_={settings['_target_']}: is no config of a method, such as peft.LoraConfig")
    possible = inspect.signature(method).parameters
    for unknown in sorted(set(settings) - set(possible) - {"_target_"}):
        raise ConfigError(f"{key}.{unknown}: {name} has no such setting; {suggestion(unknown, possible)}")
    for field in dataclasses.fields(method):  # adapt's own methods give their settings ranges
        check_value(f"{key}.{field.name}", settings.get(field.name), field.metadata.get("may_be"))
    for setting, instead in WITHOUT_EFFECT.items():
        if setting in settings and settings[setting] != possible[setting].default:
            raise ConfigError(
                f"{key}.{setting}={settings[setting]}: has no effect here, where a method trains only its own weights "
                f"and heads; leave it out: {instead}"
            )
