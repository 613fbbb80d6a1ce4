"""What a reader of a table must know before believing it."""

from __future__ import annotations

import pandas as pd

from analysis import cells


def caveats(table: pd.DataFrame) -> list[str]:
    """What a reader of the table must know: rows of a dirty tree, several commits, failed checks, gaps."""
    notes = []
    runs = table.drop_duplicates("run_id")
    dirty = int((runs["dirty"].fillna(False)).sum())
    if dirty:
        notes.append(f"Note: {dirty} of {len(runs)} runs come from a dirty tree: no rows of record.")
    commits = sorted(set(runs["commit"]) - {"none"})
    if len(commits) > 1:
        notes.append(f"Note: the runs come from {len(commits)} commits: {', '.join(c[:7] for c in commits)}.")
    return notes + _failed_checks(table) + [f"Note: missing {gap}." for gap in missing(table)]


def missing(table: pd.DataFrame) -> list[str]:
    """Runs that the study seems to lack: for each cell the seeds that other cells of its model have."""
    gaps = []
    table = table[~cells.is_baseline_model(table)]
    columns = cells.cell_columns(table)
    runs = cells.ordered(table.drop_duplicates("run_id"), columns)
    varying = [c for c in columns if runs[c].nunique(dropna=False) > 1]
    for _, group in runs.groupby(["model", "task"], sort=False):
        seeds = set(group["seed"].dropna())
        for _, cell in group.groupby(columns, sort=False, dropna=False):
            lacking = sorted(seeds - set(cell["seed"]))
            if lacking:
                gaps.append(f"{cells.cell_label(cell.iloc[0], varying)}: seed {', '.join(map(str, lacking))}")
    return gaps


def _failed_checks(table: pd.DataFrame) -> list[str]:
    """Checks of the attack that failed: the robust scores of those runs may be too high."""
    checks = table[table["attack"].str.startswith("check:") & (table["metric"] == "passed")]
    columns = cells.cell_columns(table)
    varying = [c for c in columns if table[c].nunique(dropna=False) > 1]
    notes = []
    for name, rows in checks.groupby("attack", sort=True):
        failed = cells.ordered(rows[rows["value"] == 0], columns)
        where = "; ".join(dict.fromkeys(cells.cell_label(cell, varying) for _, cell in failed.iterrows()))
        if len(failed):
            said = f"{str(name).removeprefix('check:').replace('_', ' ')!r} failed in {len(failed)} of {len(rows)} runs"
            notes.append(f"Note: the attack's check {said}, whose robust scores may be too high: {where}.")
    return notes
