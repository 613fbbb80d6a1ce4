"""One figure per module: ``figure(table) -> Figure``. ``adapt figures`` and the report find new modules."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
from matplotlib.figure import Figure

from analysis import tuning
from analysis.cells import NotInTable


def every(table: pd.DataFrame) -> Iterator[tuple[ModuleType, Figure | NotInTable]]:
    """Each module of this folder with its figure, or with the reason why the table has no data for it.

    table: with all trials. A figure gets the settled table (analysis.tuning), or all trials if its module says
    ``ALL_TRIALS = True``.
    """
    settled, _ = tuning.settled(table)
    for source in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        module = importlib.import_module(f"analysis.figures.{source.stem}")
        try:
            yield module, module.figure(table if getattr(module, "ALL_TRIALS", False) else settled)
        except NotInTable as reason:
            yield module, reason


def name_of(module: ModuleType) -> str:
    """The name of a figure: its module's own name."""
    return module.__name__.rpartition(".")[2]
