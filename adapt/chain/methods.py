"""The constants by which a training method's module describes the method; read from its source, without torch."""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

from adapt.config import AdversaryConfig
from adapt.project.packages import source_file

OTHER_PASSES = 3.0  # a guess for a method that does not say what it costs


def module_of(cfg: AdversaryConfig) -> str:
    """The module that defines the adversary's method: all of its ``_target_`` before the last dot."""
    return str(cfg.method["_target_"]).rpartition(".")[0]


def passes(cfg: AdversaryConfig) -> float:
    """The approximate cost of training under the adversary, in units of plain training of the usual length.

    A method's module declares ``PASSES``, the forward and backward passes over a batch, and, where the method has
    ``num_steps``, ``PASSES_PER_STEP``, the passes of each step.
    """
    declared = constants(module_of(cfg))
    steps = declared.get("PASSES_PER_STEP", 0.0) * cfg.method.get("num_steps", 0)
    return cfg.length * (declared.get("PASSES", OTHER_PASSES) + steps)


@cache
def constants(module: str) -> dict[str, Any]:
    """The module's names that are assigned a literal: ``PERTURBS = False``, ``PASSES = 2.0``."""
    file = source_file(module)
    assert file is not None, module
    return {
        target.id: node.value.value
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
