"""Where the rows come from: code, versions, machines, dates, and every run."""

from __future__ import annotations

import pandas as pd

from adapt.results import PROVENANCE
from analysis import cells
from analysis.cells import NotInTable
from analysis.report import html
from analysis.report.html import Cell, Html
from analysis.report.scores import factors, headings, varying

LEDGER = [name for name in PROVENANCE if name != "created_at"]
COMMIT = 10  # letters of a commit that are shown
DAY = len("2025-01-01")


def dates(runs: pd.DataFrame) -> str:
    """The first and last day on which runs were written, or '' if none is known."""
    known = sorted(day[:DAY] for day in runs["created_at"].dropna() if day != "none")
    return "" if not known else known[0] if known[0] == known[-1] else f"{known[0]} to {known[-1]}"


def provenance(table: pd.DataFrame) -> Html:
    """One line for each combination of code and machine, then all runs with their scores."""
    runs = table.drop_duplicates("run_id")
    ledger = [name for name in LEDGER if name in runs.columns and runs[name].notna().any()]
    runs_of = runs.groupby(ledger, dropna=False, sort=True)
    lines = [_line(dict(zip(ledger, key, strict=True)), group) for key, group in runs_of]
    return html.joined([
        html.table(lines, "Code and machines"),
        html.folded(f"All {len(runs)} runs", html.table(_runs(table, runs), "Every run", _chosen(table, runs))),
    ])  # fmt: skip


def _line(ledger: dict[str, object], runs: pd.DataFrame) -> dict[str, Cell]:
    said: dict[str, Cell] = {name: _said(value) for name, value in ledger.items()}
    said |= {"commit": _said(ledger["commit"])[:COMMIT]} if "commit" in ledger else {}
    return said | {"runs": html.number(len(runs), "d"), "written": dates(runs)}


def _chosen(table: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    return [*headings(varying(runs, table)).values(), "seed", "commit"]


def _runs(table: pd.DataFrame, runs: pd.DataFrame) -> list[dict[str, Cell]]:
    """One line per run: its cell, seeds, scores on dev and test, and at the reference radius."""
    scores = {"dev": _scores(table, split="dev"), "test": _scores(table)}
    if cells.epsilons(table):
        epsilon = cells.reference_epsilon(table)
        scores[f"attacked, ε = {epsilon:g}"] = _scores(table, epsilon)
    names = headings(varying(runs, table))
    return [
        factors(run, names)
        | {"seed": _said(run["seed"]), "adaptation seed": _said(run["adaptation_seed"])}
        | {what: html.number(values.get(run["run_id"]), ".3f") for what, values in scores.items()}
        | {
            "commit": str(run["commit"])[:COMMIT],
            "written": str(run["created_at"])[:DAY],
            "run": str(run["run_id"])[:12],
        }
        for _, run in cells.ordered(runs, [*cells.cell_columns(table), "seed", "adaptation_seed"]).iterrows()
    ]


def _scores(table: pd.DataFrame, epsilon: float | None = None, split: str = "test") -> dict[str, float]:
    try:
        values = cells.scores(table, epsilon, split=split)
    except NotInTable:
        return {}
    return dict(zip(values["run_id"], values["value"], strict=True))


def _said(value: object) -> str:
    return "" if pd.isna(value) else str(value)  # type: ignore[call-overload]  # a cell is a scalar
