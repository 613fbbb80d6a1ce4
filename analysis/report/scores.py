"""A study's results in numbers: each cell's scores and each paired difference, in tables to sort and filter."""

from __future__ import annotations

import math

import pandas as pd

from analysis import cells, comparisons
from analysis.comparisons import Comparison
from analysis.report import html
from analysis.report.html import Cell, Html, Number


def varying(rows: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """The columns that tell the cells of a study apart; chain and adversary if there is only one cell."""
    return cells.varying(rows, cells.cell_columns(table)) or ["pretrain", "adversary"]


def headings(columns: list[str]) -> dict[str, str]:
    """A short heading for each column: its last part, or the whole name if two columns end alike."""
    short = [cells.heading(column).replace("_", " ") for column in columns]
    return {c: s if short.count(s) == 1 else c for c, s in zip(columns, short, strict=True)}


def factors(cell: pd.Series, names: dict[str, str]) -> dict[str, Cell]:
    """A cell's settings under their headings."""
    return {heading: cells.cell_label(cell, [c]) if c in cells.MAIN_COLUMNS else cells.display(cell[c])
            for c, heading in names.items()}  # fmt: skip


def by_cell(table: pd.DataFrame, summary: pd.DataFrame) -> Html:
    """Mean and standard deviation over seeds of every score of each cell; summary: as tables.summary gives it."""
    names = headings(varying(summary, table))
    scores = [c for c in summary.columns if f"{c}_sd" in summary.columns]
    rows = [
        factors(cell, names)
        | {"seeds": Number(str(cell["seeds"]), cell["seeds"]), "metric": cells.display(cell["metric"])}
        | {name: _mean_sd(cell[name], cell[f"{name}_sd"]) for name in scores}
        for _, cell in summary.iterrows()
    ]
    return html.table(rows, "Scores on test: mean (sd) over seeds", names.values())


def compared(table: pd.DataFrame) -> dict[str, list[Comparison]]:
    """The paired comparisons to the baseline, clean and under attack at the reference radius; may be empty."""
    each = comparisons.compare_each(table)
    return {
        "clean" if epsilon is None else f"under attack, ε = {epsilon:g}": family for epsilon, family in each.items()
    }


def differences(compared: dict[str, list[Comparison]]) -> Html:
    """Every paired difference with its interval and test."""
    columns = next(iter(compared.values()))[0].columns
    names = headings(columns)
    rows = [
        factors(one.cell, names)
        | {"score": what, "against": one.against, "metric": cells.display(one.metric)}
        | _numbers(one)
        | {"reading": one.reading_in_full if one.conditional else one.reading, "scope": one.scope}
        for what, family in compared.items()
        for one in family
    ]
    chosen = [*names.values(), "score", "reading"]
    return html.table(rows, "Paired differences to the baseline: method minus baseline", chosen)


def _numbers(one: Comparison) -> dict[str, Cell]:
    low, high = one.t_interval if one.n > 1 else (math.nan, math.nan)
    return {
        "difference": html.number(one.mean, "+.3f"),
        "95% low": html.number(low, "+.3f"),
        "95% high": html.number(high, "+.3f"),
        "pairs": html.number(one.n, "d"),
        "p": html.number(one.p, ".2g"),
        "Holm": html.number(one.p_holm if one.n > 1 else math.nan, ".2g"),
    }


def _mean_sd(mean: float, sd: float) -> Number:
    known = html.number(mean, ".3f")
    return known if math.isnan(sd) or math.isnan(mean) else Number(f"{known.text} ({sd:.3f})", known.value)
