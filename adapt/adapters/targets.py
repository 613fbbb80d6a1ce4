"""Which modules of a model a method works on: the option file's patterns as full names."""

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
    """The dotted names that end with a pattern, part by part; ``*`` is any one part."""
    form = re.compile(r"(?:.*\.)?" + re.escape(pattern).replace(r"\*", r"[^.]+"))
    return [name for name in names if form.fullmatch(name)]


def targets(key: str, encoder: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The full names, in the encoder's order, of its linear layers that any of the patterns matches.

    Raises ConfigError for a pattern without a layer, with the names that the architecture has.
    """
    linear = [
        name.replace(".base_layer", "")  # of one that an adapter wraps already
        for name, module in encoder.named_modules()
        if isinstance(module, LINEAR) and not re.search(r"\.adapter\d+(\.|$)", name)
    ]
    patterns = list(patterns)
    if not patterns:
        raise ConfigError(f"{key}=[]: names no layer of {type(encoder).__name__}; it has {', '.join(kinds(linear))}")
    chosen: set[str] = set()
    for pattern in patterns:
        found = matching(linear, pattern)
        if not found:
            raise ConfigError(
                f"{key}: {type(encoder).__name__} has no linear layer called {pattern}; it has "
                f"{', '.join(kinds(linear))}; name its own under model.modules"
            )
        chosen.update(found)
    return [name for name in linear if name in chosen]


def kinds(names: Iterable[str]) -> list[str]:
    """The names with * for the number of a layer, each once."""
    return list(dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names))
