"""The frozen rows of record of a study: experiments/<study>/results.csv, of runs from a clean commit only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from adapt import results

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@dataclass
class Merge:
    """What became of each run of the study; ``table`` holds the rows of record after it."""

    table: pd.DataFrame
    merged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # from a dirty tree
    same: list[str] = field(default_factory=list)  # recorded already, with the same numbers
    differ: list[str] = field(default_factory=list)  # recorded already, with other numbers


def merge(study: str, root: Path, experiments: Path = EXPERIMENTS, replace: bool = False) -> Merge:
    """Merge a study's rows under root into its results.csv by run_id, rows of a clean commit only.

    A run that is recorded keeps its recorded rows, unless ``replace`` and its numbers differ.
    """
    path = experiments / study / "results.csv"
    fresh = results.load(root, study)
    record = results.load_csv(path) if path.exists() else fresh.iloc[:0]
    outcome = Merge(record, refused=sorted(set(fresh.loc[fresh["dirty"], "run_id"])))
    fresh = fresh[~fresh["dirty"]]
    measured = ["run_id", *results.MEASUREMENT, "created_at"]
    for run_id in fresh["run_id"].unique().tolist():
        now, then = (rows.loc[rows["run_id"] == run_id, measured] for rows in (fresh, record))
        if then.empty:
            outcome.merged.append(run_id)
        elif results.same_rows(now, then):
            outcome.same.append(run_id)
        else:
            outcome.differ.append(run_id)
    taken = outcome.merged + (outcome.differ if replace else [])
    if taken:
        kept = [record[~record["run_id"].isin(taken)], fresh[fresh["run_id"].isin(taken)]]
        outcome.table = results.typed(pd.concat([rows for rows in kept if len(rows)], ignore_index=True))
        results.save_csv(outcome.table, path)
    return outcome
