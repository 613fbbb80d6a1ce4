"""What a stage trains: its parent's model, with the parent's adapter merged, stacked or dropped, and a new adapter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from peft import AdaLoraConfig
from torch import nn

from adapt.adapters import folder as files
from adapt.adapters import quantization
from adapt.adapters.allocation import allocation, orthogonality
from adapt.adapters.folder import Adaptation
from adapt.adapters.methods import Adapter, core_of, fold, mergeable, put_on
from adapt.adapters.selective import HeadConfig
from adapt.config import ConfigError, PeftConfig
from adapt.training import processes, retention
from adapt.training.fit import Adapters
from adapt.training.loop import AfterUpdate
from adapt.training.retention import Pull

KEY_NAME = "adapters.stage"
VERSION = 1
FULL = PeftConfig(name="full", method=None, inherit="merge", quantization=None, learning_rate_factor=1.0)


def begin(
    model: Any, cfg: PeftConfig, out: Path, *, new_weights: Sequence[str] = (), unquantized: Sequence[str] = ()
) -> Adapters:
    """Prepare a parent's model for training as ``cfg`` says; weights that it does not train are frozen.

    model: a headed encoder or a language model, as it was loaded (under ``cfg.inherit=drop`` without adapters).
    out: the stage's folder; if adapters were merged, the merged base is written there at once. new_weights: names of
    the language-model head's weights that are new; if there are any, the whole head is trained and saved with the
    adapter. unquantized: modules (heads) that keep their precision when the base is quantised.
    Returns what its training asks of the adapters. Raises ConfigError where an adapter cannot be merged.
    """
    network = model.model
    of_model = Adapters(
        learning_rate_factor=cfg.learning_rate_factor,
        added=partial(adapter_weights, model),
        penalty=partial(penalty, model),
        after_update=partial(after_update, model),
        checkpoint_gradients=partial(checkpoint_gradients, model),
        bytes_beside_base=partial(files.bytes_beside_base, network),
    )
    inherited = files.of(network)
    merged = inherited is not None and cfg.inherit == "merge"
    if merged:
        merge(network)
    if cfg.method is None:
        network.adaptation = None
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        return of_model
    if merged:
        if processes.leads():
            network.save_pretrained(out)
        network.adaptation = Adaptation(out)
    adaptation: Adaptation = network.adaptation
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    if cfg.quantization is not None and adaptation.quantization is None:
        quantization.quantize(network, cfg.quantization, unquantized)
        adaptation.quantization, adaptation.unquantized = cfg.quantization, list(unquantized)
    adapter = Adapter(f"adapter{len(adaptation.adapters)}", method_of(cfg, network))
    put_on(network, adapter)
    heads = {id(weight) for weight in head_weights(model, adapter, bool(new_weights))}
    heads_names = [files.plain(name) for name, weight in network.named_parameters() if id(weight) in heads]
    adapter.whole = list(dict.fromkeys([*adapter.whole, *heads_names]))
    adaptation.adapters.append(adapter)
    whole = set(adapter.whole)
    for name, parameter in network.named_parameters():
        trained = adapter.owns(name) or files.plain(name) in whole
        assert parameter.is_floating_point() or not trained, f"{name} is to be trained, and is {parameter.dtype}"
        parameter.requires_grad_(trained)
    return of_model


def head_weights(model: Any, adapter: Adapter, new: bool) -> list[nn.Parameter]:
    """The weights of the head, if it is trained: a classifier's always, a language model's if new or if asked for."""
    if not hasattr(model, "head_parameters"):
        return retention.outside(model)
    return model.head_parameters() if new or isinstance(adapter.config, HeadConfig) else []


def method_of(cfg: PeftConfig, network: Any) -> Any:
    """The method's config, with its target layers by their full names."""
    from hydra.utils import instantiate

    from adapt.adapters.targets import targets

    assert cfg.method is not None
    settings = dict(cfg.method)
    for name in ("target_modules", "feedforward_modules"):
        if isinstance(settings.get(name), list):
            settings[name] = targets(f"peft.method.{name}", network.base_model, settings[name])
    return instantiate(settings, _convert_="all")


def merge(network: Any) -> None:
    """Merge all adapters into the model's weights. Raises ConfigError for one that does not change those weights."""
    adaptation = files.of(network)
    for adapter in adaptation.adapters if adaptation else []:
        if not mergeable(adapter.config):
            raise ConfigError(
                f"peft.inherit=merge: a {type(adapter.config).__name__} does not change the base's weights, so it "
                "cannot be merged into them; set it to stack or drop"
            )
    fold(network)
    for module in (network, network.base_model):
        vars(module).pop("peft_config", None)


def penalty(model: Any, pull: Pull | None) -> Pull | None:
    """What adds to the gradients of each update: ``pull``, and the method's own penalty (AdaLoRA's)."""
    tuner = allocating(model)
    if tuner is None:
        return pull
    own = orthogonality(tuner)
    if pull is None:
        return own

    def both(scale: float) -> None:
        pull(scale)
        own(scale)

    return both


def after_update(model: Any, steps: int) -> AfterUpdate | None:
    """What to call after each of the ``steps`` updates (AdaLoRA reallocates its ranks); None for other methods."""
    tuner = allocating(model)
    return None if tuner is None else allocation(tuner, steps)


def allocating(model: Any) -> Any:
    """peft's AdaLoraModel if AdaLoRA is being trained in at least one layer, else None."""
    adaptation = files.of(model.model)
    newest = adaptation.adapters[-1] if adaptation else None
    if newest is None or not isinstance(newest.config, AdaLoraConfig):
        return None
    trained = any(weight.requires_grad for name, weight in model.model.named_parameters() if newest.owns(name))
    return newest.tuner if trained else None


def adapter_weights(model: Any) -> list[nn.Parameter]:
    """The weights that adapters have added, without any of the base's."""
    adaptation = files.of(model.model)
    adapters = adaptation.adapters if adaptation else []
    return [weight for name, weight in model.model.named_parameters() if any(one.owns(name) for one in adapters)]


def checkpoint_gradients(model: Any) -> None:
    """Recompute each layer's activations in the backward pass instead of storing them; only in training mode.

    Non-reentrant: the reentrant kind computes no gradient for a delta under frozen embeddings and does not support
    ``torch.autograd.grad``. Raises ConfigError if the architecture has no checkpointing, and for a prefix, which
    transformers would ignore.
    """
    network = model.model
    if not network.supports_gradient_checkpointing:
        name = type(network).__name__
        raise ConfigError(f"runtime.gradient_checkpointing=true: {name} does not support it; set it to false")
    tokens = dict(core_of(network).named_children()).get("virtual_tokens")
    if tokens is not None and len(tokens.prefixes):  # type: ignore[arg-type]
        raise ConfigError(
            "runtime.gradient_checkpointing=true: transformers then passes no past keys to the layers, so a prefix "
            "would learn nothing; set it to false, or choose peft=prompt, lora or another method without a prefix"
        )
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
