"""The predictions of a study's recorded runs, frozen beside its rows as predictions.parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from adapt import results
from analysis.study import frozen
from analysis.study.record import EXPERIMENTS, Merge

LIMIT = 2.0  # megabytes of a file that git keeps without being asked


@dataclass(frozen=True)
class Kept:
    """How many recorded runs have predictions, of how many, and the size of their file in megabytes (0: no file)."""

    runs: int
    recorded: int
    megabytes: float
    written: bool

    def __str__(self) -> str:
        if not self.runs:
            return f"of none of {self.recorded} runs: they are older than predictions"
        said = f"of {self.runs} of {self.recorded} runs, {self.megabytes:.2f} MB"
        return said if self.written else f"{said}: too large to be kept unless --predictions-megabytes allows it"


def freeze(
    study: str, root: Path, outcome: Merge, experiments: Path = EXPERIMENTS, replace: bool = False, limit: float = LIMIT
) -> Kept:
    """Write predictions.parquet of the runs on record; those that this root lacks keep what was frozen before.

    A recorded run whose numbers are others now keeps its frozen predictions too, unless ``replace``. A file above
    ``limit`` megabytes is not written.
    """
    folder = experiments / study
    recorded = sorted(set(outcome.table["run_id"]))
    known = frozen.load_predictions(folder)
    trusted = {*outcome.merged, *outcome.same, *(outcome.differ if replace else [])}
    fresh = [run_id for run_id in recorded if run_id in trusted and results.has_predictions(root, run_id)]
    old = known[known["run_id"].isin(set(recorded) - set(fresh))]
    rows = pd.concat([old.astype({"run_id": "str"})[frozen.ANSWERED], *(_of_run(root, run_id) for run_id in fresh)])
    if rows.empty:
        return Kept(0, len(recorded), 0.0, written=False)
    content = frozen.packed(rows)
    written = len(content) <= limit * 1e6
    if written:
        results.replace(folder / frozen.PREDICTIONS, content)
    return Kept(rows["run_id"].nunique(), len(recorded), len(content) / 1e6, written)


def _of_run(root: Path, run_id: str) -> pd.DataFrame:
    """A run's predictions with the columns of the frozen ones."""
    found = results.predictions(root, run_id)
    return found.assign(run_id=run_id, classes=len(found["gold"].cat.categories))[frozen.ANSWERED]
