"""Every metric of the test split as a Markdown page: those beside the task's own, calibration, F1 of each class."""

from __future__ import annotations

import math

import pandas as pd

from adapt.results import metrics
from analysis import cells, markdown

OF_CLASS = "f1_"
FORM = "mean (sd) over seeds"


def report(table: pd.DataFrame) -> str:
    """A table of the metrics and one of the classes for each task. Raises NotInTable where runs have just their own."""
    rows = table[(table["split"] == "test") & (table["attack"] == "none")]
    named = [*metrics.METRICS, *metrics.CALIBRATION]
    measured = [name for name in named if (rows["metric"] == name).any()]
    classes = sorted({name for name in rows["metric"].unique() if name.startswith(OF_CLASS)})
    own = {*cells.scores(table)["metric"].unique(), metrics.ACCURACY}
    if set(measured) <= own and not classes:
        raise cells.NotInTable("no metrics beside the task's own and accuracy")
    parts = ["# All metrics on test", _how_to_read(measured)]
    for task in sorted(rows["task"].unique()):
        of_task = table[table["task"] == task]
        for heading, names in {"metrics": measured, "F1 of each class": classes}.items():
            if lines := _lines(of_task, names):
                title = f"## {cells.display(task)}: {heading}, {FORM}"
                parts += [title, markdown.table(lines, words=("method", *lines[0]))]
    return "\n\n".join(parts) + "\n"


def _how_to_read(measured: list[str]) -> str:
    told = "Means over classes are over those that examples have or were answered with. "
    if any(name in measured for name in metrics.CALIBRATION):
        told += f"ECE ({metrics.BINS} bins of equal width) and Brier score are errors: the lower, the better. "
    return told + "Nothing here is a test; the comparisons are of the task's own metric."


def _lines(table: pd.DataFrame, names: list[str]) -> list[dict[str, str]]:
    """One line per cell, with a column for each of the metrics that any has."""
    found: dict[str, pd.Series] = {}
    for name in names:
        try:
            scores = cells.scores(table, metric=name)
        except cells.NotInTable:
            continue
        varying = cells.varying(scores, cells.cell_columns(scores)) or ["pretrain", "adversary"]
        labels = scores.apply(cells.cell_label, axis=1, columns=varying)
        seeds = scores.assign(method=labels).groupby(["method", "seed"], sort=False, dropna=False)["value"].mean()
        moments = seeds.groupby("method", sort=False)
        found[_heading(name)] = pd.Series(
            [_mean_sd(mean, sd) for mean, sd in zip(moments.mean(), moments.std(), strict=True)], moments.mean().index
        )
    if not found:
        return []
    together = pd.DataFrame(found).fillna("")
    return [{"method": str(line.name), **{name: str(line[name]) for name in found}} for _, line in together.iterrows()]


def _heading(name: str) -> str:
    return name.removeprefix(OF_CLASS) if name.startswith(OF_CLASS) else cells.display(name)


def _mean_sd(mean: float, sd: float) -> str:
    return f"{mean:.3f}" if math.isnan(sd) else f"{mean:.3f} ({sd:.3f})"
