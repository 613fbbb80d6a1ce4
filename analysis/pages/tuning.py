"""tuning.md: the learning rate that each arm of a swept study keeps, and how clear the choice was."""

from __future__ import annotations

import math

import pandas as pd

from analysis import cells, markdown, tuning
from analysis.cells import NotInTable
from analysis.tuning import LEARNING_RATE

ALL_TRIALS = True  # needs all trials, not only each arm's best setting


def report(table: pd.DataFrame) -> str:
    """A Markdown page, one line per arm; table: with all trials. Raises NotInTable if no rate was swept or chosen."""
    if not tuning.is_swept(table):
        raise NotInTable("one learning rate for each arm: none was chosen")
    try:
        tuned = tuning.chosen(table)
    except tuning.UnequalBudgets as reason:
        raise NotInTable(f"learning rates are not chosen yet: {reason}") from reason
    columns = tuning.arm_columns(tuned.choices)
    lines = [_line(arm, columns) for _, arm in cells.ordered(tuned.choices, columns).iterrows()]
    ends = int((tuned.choices["end"] != "").sum())
    said = f"{ends} of {len(lines)} arms keep the lowest or the highest rate that they tried: there may be a better one"
    return "\n\n".join([
        "# The learning rate of each arm",
        f"Chosen {tuning.budget(tuned)}, by the mean score on dev over the seeds; test is not read. Margin: over the "
        f"next best rate. {said if ends else 'No arm keeps the lowest or the highest rate that it tried'}.",
        "## Arms",
        markdown.table(lines, words=[*map(_heading, columns), "metric", "end of the grid"]),
    ]) + "\n"  # fmt: skip


def _line(arm: pd.Series, columns: list[str]) -> dict[str, str]:
    return {
        **{_heading(column): cells.cell_label(arm, [column]) for column in columns},
        "rate": f"{arm[LEARNING_RATE]:g}",
        "metric": cells.display(arm["metric"]),
        "dev": f"{arm['dev']:.3f}",
        "margin": "" if math.isnan(arm["margin"]) else f"{arm['margin']:.3f}",
        "settings": str(arm["settings"]),
        "trials": str(arm["trials"]),
        "end of the grid": arm["end"],
    }


def _heading(column: str) -> str:
    return {"pretrain": "chain"}.get(column, cells.display(cells.heading(column)))
