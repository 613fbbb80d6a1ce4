"""Every setting of every cell: once those that all runs share, then a part for each cell with its own."""

from __future__ import annotations

import pandas as pd

from adapt.results import COLUMNS, FACTORS, TUNING
from analysis import cells
from analysis.report import html
from analysis.report.html import Html, element
from analysis.report.scores import varying

_OF_A_RUN = ("seed", "adaptation", "adaptation_seed")  # shown in the list of runs


def configs(table: pd.DataFrame) -> Html:
    """The settings that all runs share, and a folded part for each cell with the others."""
    runs = table.drop_duplicates("run_id")
    columns = cells.cell_columns(table)
    settings = [c for c in FACTORS if c not in _OF_A_RUN]
    settings += sorted(c for c in runs.columns if c not in {*COLUMNS, TUNING} and runs[c].notna().any())
    shared = [c for c in settings if runs[c].nunique(dropna=False) == 1]
    named = varying(runs, table)
    own = [c for c in settings if c not in shared]
    alike = {c for c in own if runs[c].nunique() == 1}  # the same wherever they occur: only some cells have them
    ordered = cells.ordered(runs, [*columns, "seed"])
    parts = [
        _cell(group, cells.cell_label(group.iloc[0], named), own, alike)
        for _, group in ordered.groupby(columns, dropna=False, sort=False)
    ]
    return html.joined([
        html.folded(f"The same in every run: {len(shared)} settings", _settings({c: _said(runs[c]) for c in shared})),
        *parts,
    ])  # fmt: skip


def _cell(runs: pd.DataFrame, label: str, own: list[str], alike: set[str]) -> Html:
    """A cell's part: what differs between cells, then what only some cells have."""
    has = [c for c in own if runs[c].notna().any()]
    differs = {c: _said(runs[c]) for c in has if c not in alike}
    further = {c: _said(runs[c]) for c in has if c in alike}
    runs_in_words = f"{len(runs)} run" + ("" if len(runs) == 1 else "s")
    lists: list[str | None] = [element("p", f"Seeds: {_said(runs['seed'])}. Adaptation seeds: "
                                            f"{_said(runs['adaptation_seed']) or 'none'}.")]  # fmt: skip
    if differs:
        lists += [element("p", "Differs between cells"), _settings(differs)]
    if further:
        lists += [element("p", "Of parts that not every cell has"), _settings(further)]
    return html.folded(f"{label} ({runs_in_words})", *lists)


def _settings(settings: dict[str, str]) -> Html:
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in settings.items()]
    return element("dl", *pairs, class_="settings")


def _said(values: pd.Series) -> str:
    """The values that occur, separated by commas."""
    return ", ".join(dict.fromkeys(f"{v:g}" if isinstance(v, float) else str(v) for v in values.dropna()))
