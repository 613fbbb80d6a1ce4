"""A node of a run's chain: what it is made from, and by which function."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adapt.config import RuntimeConfig

Role = Literal["prepares", "adapts", "finetunes", "evaluates"]


@dataclass(frozen=True)
class Source:
    """An input that no stage made: a folder, known by the hash of its files."""

    folder: Path
    content: str


@dataclass
class Stage:
    """A node. ``config`` identifies it; the function is called as function(argument, inputs, out, runtime, **more).

    role: ``adapts`` makes the language model that fine-tuning starts from, step by step along the chain; ``finetunes``
    makes a model of a task; ``evaluates`` measures one of the two; ``prepares`` makes what others read.
    """

    kind: str  # of its folder in the store
    label: str  # for people
    function: str  # module:name, imported only when the stage is built
    modules: tuple[str, ...]
    argument: Any
    inputs: dict[str, Stage | Source]
    config: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)
    by_content: bool = False  # data: children know it by its output's hash, so equal text shares what follows
    trains: bool = False  # so that the processes of a run share it (adapt/training/processes.py)
    role: Role = "prepares"
    step: str = ""  # its part of the chain's name in rows, where it adapts: dapt+tapt; its config then has its seed
    prefix: str | None = None  # of the split of its rows: dapt/heldout; "" for none, None for the label
    work: float = 0.0  # for the estimate: about how many tokens it trains on, times passes over each; 0 is not known

    def call(self, inputs: dict[str, Path], folder: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
        """Build the stage into the folder, from its inputs' folders; returns its measurements."""
        module, name = self.function.split(":")
        rows: list[dict[str, Any]] = getattr(importlib.import_module(module), name)(
            self.argument, inputs, folder, runtime, **self.more
        )
        return rows


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    """A copy of the config that lacks these keys of its top level."""
    return {key: value for key, value in config.items() if key not in names}
