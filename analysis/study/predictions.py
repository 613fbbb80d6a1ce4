"""The predictions of a study's recorded runs, frozen beside its rows as predictions.parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from adapt import results
from analysis.study import frozen
from analysis.study.record import EXPERIMENTS, Merge

LIMIT = 2.0  # megabytes: a larger file is not written unless asked for, because it would go into git


@dataclass(frozen=True)
class FrozenPredictions:
    """How many of the recorded runs have predictions, and the size of their file in megabytes (0: no file)."""

    runs: int
    recorded: int
    megabytes: float
    written: bool

    def __str__(self) -> str:
        if not self.runs:
            return f"of none of {self.recorded} runs: they were made before predictions were stored"
        said = f"of {self.runs} of {self.recorded} runs, {self.megabytes:.2f} MB"
        return said if self.written else f"{said}: too large to be written unless --predictions-megabytes allows it"


def freeze(
    study: str, root: Path, outcome: Merge, experiments: Path = EXPERIMENTS, replace: bool = False, limit: float = LIMIT
) -> FrozenPredictions:
    """Write the predictions of the recorded runs to predictions.parquet.

    Runs that this root lacks keep their frozen predictions. So do recorded runs whose numbers have changed, unless
    ``replace``. A file above ``limit`` megabytes is not written.
    """
    folder = experiments / study
    recorded = sorted(set(outcome.table["run_id"]))
    known = frozen.load_predictions(folder)
    trusted = {*outcome.merged, *outcome.same, *(outcome.differ if replace else [])}
    fresh = [run_id for run_id in recorded if run_id in trusted and results.has_predictions(root, run_id)]
    old = known[known["run_id"].isin(set(recorded) - set(fresh))]
    rows = pd.concat([old.astype({"run_id": "str"})[frozen.PREDICTED], *(_of_run(root, run_id) for run_id in fresh)])
    if rows.empty:
        return FrozenPredictions(0, len(recorded), 0.0, written=False)
    content = frozen.packed(rows)
    written = len(content) <= limit * 1e6
    if written:
        results.replace(folder / frozen.PREDICTIONS, content)
    return FrozenPredictions(rows["run_id"].nunique(), len(recorded), len(content) / 1e6, written)


def _of_run(root: Path, run_id: str) -> pd.DataFrame:
    """A run's predictions with the columns of the frozen ones."""
    predictions = results.predictions(root, run_id)
    return predictions.assign(run_id=run_id, classes=len(predictions["gold"].cat.categories))[frozen.PREDICTED]
