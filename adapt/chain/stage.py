"""A node of a run's chain: its inputs, and the function that builds it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adapt.config import RuntimeConfig

Role = Literal["prepares", "adapts", "finetunes", "evaluates"]


@dataclass(frozen=True)
class Source:
    """An input that no stage builds: a folder, identified by the hash of its files."""

    folder: Path
    content: str


@dataclass
class Stage:
    """A node. ``config`` is part of its key. It is built by function(argument, inputs, out, runtime, **more).

    role: ``adapts`` trains the language model from which fine-tuning starts; ``finetunes`` trains a model for a task;
    ``evaluates`` measures one of the two; ``prepares`` makes the input of other stages.
    """

    kind: str  # names its folder in the store
    label: str  # names it in logs and plans
    function: str  # module:name, imported only when the stage is built
    modules: tuple[str, ...]
    argument: Any
    inputs: dict[str, Stage | Source]
    config: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)
    by_content: bool = False  # data: its children's keys have its output's hash, so that equal text shares them
    trains: bool = False  # the processes of a run share its work (adapt/training/processes.py)
    role: Role = "prepares"
    step: str = ""  # if it adapts: its part of the chain's name in rows, such as dapt+tapt; its config then has a seed
    prefix: str | None = None  # of the split in its rows (dapt/heldout); "" for no prefix, None for the label
    work: float = 0.0  # for the estimate: about how many tokens it trains on, times the passes over each; 0: not known

    def call(self, inputs: dict[str, Path], folder: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
        """Build the stage into the folder, from the folders of its inputs; returns its measurements."""
        module, name = self.function.split(":")
        rows: list[dict[str, Any]] = getattr(importlib.import_module(module), name)(
            self.argument, inputs, folder, runtime, **self.more
        )
        return rows


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    """A copy of the config without these top-level keys."""
    return {key: value for key, value in config.items() if key not in names}


def ordered(last: Stage) -> list[Stage]:
    """All stages that a stage is made from, inputs first, and the stage itself; each once."""
    found: dict[int, Stage] = {}

    def visit(stage: Stage) -> None:
        if id(stage) in found:
            return
        for given in stage.inputs.values():
            if isinstance(given, Stage):
                visit(given)
        found[id(stage)] = stage

    visit(last)
    return list(found.values())
