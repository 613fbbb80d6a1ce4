"""Which modules of a model a method is put on: resolves the option file's patterns to full names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn
from transformers.pytorch_utils import Conv1D

from adapt.config import ConfigError

KEY_NAME = "adapters.targets"
VERSION = 1
LINEAR = (nn.Linear, Conv1D)


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """The dotted names that end with a pattern, part by part; ``*`` stands for any one part."""
    form = re.compile(r"(?:.*\.)?" + re.escape(pattern).replace(r"\*", r"[^.]+"))
    return [name for name in names if form.fullmatch(name)]


def targets(key: str, encoder: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The full names, in the encoder's order, of the linear layers that match at least one of the patterns.

    Raises ConfigError for a pattern that matches none, and lists the names that the architecture has.
    """
    linear = [
        name.replace(".base_layer", "")  # in the name of a layer that an adapter already wraps
        for name, module in encoder.named_modules()
        if isinstance(module, LINEAR) and not re.search(r"\.adapter\d+(\.|$)", name)
    ]
    patterns = list(patterns)
    if not patterns:
        raise ConfigError(f"{key}=[]: names no layer of {type(encoder).__name__}; it has {', '.join(kinds(linear))}")
    chosen: set[str] = set()
    for pattern in patterns:
        layers = matching(linear, pattern)
        if not layers:
            raise ConfigError(
                f"{key}: {type(encoder).__name__} has no linear layer called {pattern}; it has "
                f"{', '.join(kinds(linear))}; set the names of this architecture under model.modules"
            )
        chosen.update(layers)
    return [name for name in linear if name in chosen]


def kinds(names: Iterable[str]) -> list[str]:
    """The names with ``*`` in place of layer numbers, without repetitions."""
    return list(dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names))
