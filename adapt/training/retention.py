"""What keeps a model near its start: frozen layers, lower rates for lower layers, a pull back to the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import nn

from adapt.config import ConfigError

KEY_NAME = "training.retention"
VERSION = 1
Pull = Callable[[float], None]


def layer_numbers(model: nn.Module) -> dict[str, int]:
    """The layer number of each parameter of ``model``, by name: 0 embeddings, 1 ... L layers, L + 1 what is above.

    model: anything with a transformers base model as ``.encoder``. Its layers are the members of its outermost
    ModuleLists, if these hold more than embedding tables. They are numbered through, the encoder's first, then the
    decoder's. Layer 0 is every embedding table, what is registered before the first layer, and what has "embed" in its
    name. What lies between two lists (an encoder's last norm) belongs to the layer before it. What comes after the last
    layer is above, as is everything outside the base model. A weight with two names has the lower of their numbers.

    ALBERT's layers share one set of weights, so L is 1 there. Raises ConfigError for a base model without layers.
    """
    stacks = layer_stacks(cast(nn.Module, model.encoder))
    layer_of: dict[int, int] = {}
    for number, layer in enumerate((layer for stack in stacks for layer in stack), start=1):
        layer_of |= {id(parameter): number for parameter in layer.parameters()}
    tables = {id(weight) for module in model.modules() if isinstance(module, nn.Embedding) for weight in own(module)}
    inside = {id(parameter) for parameter in cast(nn.Module, model.encoder).parameters()}
    if not layer_of:
        raise ConfigError(f"retention: {type(model.encoder).__name__} has no list of layers to freeze or to tell apart")
    top = max(layer_of.values())
    numbers, reached = {}, 0
    for name, parameter in model.named_parameters():  # in the order of registration; a shared weight comes once
        if id(parameter) in layer_of:
            reached = layer_of[id(parameter)]
            numbers[name] = reached
        elif id(parameter) not in inside:
            numbers[name] = top + 1
        elif id(parameter) in tables or "embed" in name:
            numbers[name] = 0
        else:
            numbers[name] = top + 1 if reached == top else reached
    return numbers


def layer_stacks(encoder: nn.Module) -> list[nn.ModuleList]:
    """The outermost ModuleLists of a base model whose members all hold a weight that is not an embedding table."""
    stacks: list[nn.ModuleList] = []
    seen: set[int] = set()
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and id(module) not in seen and len(module) and all(map(computes, module)):
            stacks.append(module)
            seen |= {id(inner) for inner in module.modules()}
    return stacks


def computes(layer: nn.Module) -> bool:
    """Whether a module holds a weight matrix that is not an embedding table."""
    return any(
        weight.ndim >= 2 for module in layer.modules() if not isinstance(module, nn.Embedding) for weight in own(module)
    )


def own(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of the module itself, without those of its children."""
    return list(module.parameters(recurse=False))


def count_layers(encoder: nn.Module) -> int:
    """The number L of layers of a base model, as the setting ``frozen_layers`` counts them."""
    return sum(map(len, layer_stacks(encoder)))


def freeze(model: nn.Module, layers: int) -> None:
    """Freeze the lowest ``layers`` layers and, if that is one or more, the embeddings.

    An output matrix that is tied to the embeddings is frozen with them. Raises ConfigError if there are fewer layers.
    """
    if layers:
        check_frozen("", layers, cast(nn.Module, model.encoder))
        numbers = layer_numbers(model)
        for name, parameter in model.named_parameters():
            if numbers[name] <= layers:
                parameter.requires_grad_(False)


def check_frozen(part: str, layers: int, encoder: nn.Module) -> None:
    """Raise ConfigError if ``layers`` is more than a base model has. part: the start of the setting's name."""
    most = count_layers(encoder)
    if layers > most:
        name = type(encoder).__name__
        raise ConfigError(f"{part}retention.frozen_layers={layers}: {name} has {most} layers; must be {most} or less")


def toward_start(model: nn.Module, alpha: float, new: Iterable[nn.Parameter]) -> Pull | None:
    """L2-SP (Li et al., 2018, equation 2): the gradient of alpha / 2 * ||w - w0||^2 at the trained, pretrained weights.

    w0: the weights that ``model`` has now, so call this before training. A resumed training has the same w0, because
    its stage first loads the same parent. new: weights that no parent trained, such as a head's. They are not pulled
    (the paper gives them an ordinary weight decay, which is AdamW's here).

    Returns None for alpha = 0, else a function that adds ``scale * alpha * (w - w0)`` to the gradients; the training
    loop calls it before clipping. scale: the loss scale of fp16. The function holds a second copy of the weights.
    """
    if alpha == 0:
        return None
    untrained = {id(weight) for weight in new}
    pulled = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in untrained]
    start = [weight.detach().clone() for weight in pulled]

    @torch.no_grad()
    def pull(scale: float) -> None:
        for weight, origin in zip(pulled, start, strict=True):
            if weight.grad is not None:  # without a gradient the optimizer does not move the weight
                weight.grad.add_(weight - origin, alpha=scale * alpha)

    return pull


def outside(model: nn.Module) -> list[nn.Parameter]:
    """The parameters outside the base model and those of its pooler: the new weights of a classifier."""
    encoder = cast(nn.Module, model.encoder)
    pooler = getattr(encoder, "pooler", None)
    new = set() if pooler is None else {id(weight) for weight in pooler.parameters()}
    trained = {id(weight) for weight in encoder.parameters()} - new
    return [weight for weight in model.parameters() if id(weight) not in trained]
