"""Check each value against the range or choices that adapt/config.py gives its key, and walk over a config's nodes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from adapt.config import ConfigError, Range, suggestion
from adapt.project import packages

TARGETS = ("adapt.", "peft.", "torch.optim.")  # what a config from someone else may name


def refuse_unknown_keys(cfg: DictConfig) -> None:
    """Refuse keys that a node's dataclass does not have: the schema itself lets `+foo=1` through."""
    for key, node in nodes(cfg):
        declared = OmegaConf.get_type(node)
        if dataclasses.is_dataclass(declared):
            possible = [field.name for field in dataclasses.fields(declared)]
            for extra in sorted(set(map(str, node)) - set(possible)):
                path = f"{key}.{extra}" if key else extra
                raise ConfigError(f"{path}: no such key; {suggestion(extra, possible)}")


def nodes(cfg: DictConfig, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """The config and every mapping in it, each with its dotted key."""
    yield path, cfg
    for key in cfg:
        if OmegaConf.is_missing(cfg, key):
            continue
        child = cfg[key]
        if isinstance(child, DictConfig):
            name = str(key)
            yield from nodes(child, f"{path}.{name}" if path else name)


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every single value with its dotted key; the elements of a list have the list's key."""
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in leaves(value, f"{path}.{key}" if path else str(key))]
    if isinstance(tree, list):
        return [leaf for value in tree for leaf in leaves(value, path)]
    return [(path, tree)]


def check_single_values(cfg: DictConfig) -> None:
    """Raise ConfigError for a value outside its field's range or choices, or one that no key may have.

    Values that refer to other keys come last, so that the error names the key that was set.
    """
    may_be: dict[str, Any] = {}
    referring = set()
    for path, node in nodes(cfg):
        declared = OmegaConf.get_type(node)
        fields = dataclasses.fields(declared) if dataclasses.is_dataclass(declared) else ()
        may_be |= {f"{path}.{field.name}" if path else field.name: field.metadata.get("may_be") for field in fields}
        for name in [str(name) for name in node]:
            if OmegaConf.is_interpolation(node, name):
                referring.add(f"{path}.{name}" if path else name)
    whole = OmegaConf.to_container(cfg, resolve=True)
    refuse_nested(whole)
    values = leaves(whole)
    for key, value in sorted(values, key=lambda leaf: (leaf[0] in referring, not leaf[0].startswith("budget."))):
        check_any(key, value)
        check_value(key, value, may_be.get(key) or may_be.get(key.rpartition(".")[0]))


def refuse_nested(tree: Any, path: str = "") -> None:
    """Raise ConfigError for a list in a list, which no key has."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            refuse_nested(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and any(isinstance(value, list) for value in tree):
        raise ConfigError(f"{path}={tree}: a list in a list; give its values in one list")


def check_any(key: str, value: Any) -> None:
    """Raise ConfigError for a number that is not finite, and a ``_target_`` that could run any code."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}={value}: must be a finite number")
    if key.rpartition(".")[2] == "_target_" and not str(value).startswith(TARGETS):
        check_own_target(key, str(value))


def check_own_target(key: str, target: str) -> None:
    """Raise ConfigError unless it is an adversary's target and the user, not a config, has allowed its package."""
    adversary = key.partition(".")[0] in ("adversary", "pretrain_adversary")
    if adversary and packages.is_named(target):
        return
    shipped = f"{key}={target}: a config may name only {', '.join(start + '*' for start in TARGETS)}"
    if not adversary:
        raise ConfigError(shipped)
    package = target.partition(".")[0]
    raise ConfigError(
        f"{shipped}; if you trust the package {package}, name it yourself: "
        f"adapt {packages.FLAG} {package} ..., or {packages.VARIABLE}={package}"
    )


def check_value(key: str, value: Any, may_be: Range | tuple[str | None, ...] | None) -> None:
    """Raise ConfigError for a value that is none of the choices, or a number out of range; null is a matter of type."""
    if isinstance(may_be, tuple) and value is not None and value not in may_be:
        possible = ", ".join("null" if choice is None else choice for choice in may_be)
        raise ConfigError(f"{key}={value}: possible are {possible}")
    if isinstance(may_be, Range) and is_number(value) and value not in may_be:
        raise ConfigError(f"{key}={value}: must be {may_be}")


def is_number(value: Any) -> bool:
    """Whether a value is an int or a float but not a bool, which is an int in Python."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
