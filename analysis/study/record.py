"""The frozen rows of record of a study: experiments/<study>/results.csv, only of runs whose sources a commit holds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from adapt import results
from adapt.project.folder import experiments
from analysis.study import frozen

EXPERIMENTS = experiments()  # of the project that the command was started in
_GENERATION = re.compile(r"\bkeys (\d+)")  # in the column 'versions' (adapt.store.keys)


@dataclass
class Merge:
    """What happened to each run of the study; ``table`` holds the rows of record afterwards."""

    table: pd.DataFrame
    merged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # no commit holds the sources that made them
    uncommitted: list[str] = field(default_factory=list)  # those sources
    same: list[str] = field(default_factory=list)  # recorded already, with the same numbers
    differ: list[str] = field(default_factory=list)  # recorded already, with other numbers
    superseded: list[str] = field(default_factory=list)  # recorded under older code, with the settings of a merged run
    outdated: list[str] = field(default_factory=list)  # of settings that a run of other code has too, made later
    waiting: list[str] = field(default_factory=list)  # recorded under other keys and not run again: nothing is merged


def merge(study: str, root: Path, experiments: Path = EXPERIMENTS, replace: bool = False) -> Merge:
    """Merge a study's rows under root into its results.csv by run_id, only runs whose sources a commit holds.

    A recorded run keeps its rows, unless its numbers differ and ``replace`` is set. A recorded run of older code, which
    has another run_id, is replaced by a new one with the same settings: both would count as the same seed.

    Runs whose keys are of another generation than those on record replace the record whole: half of each would count
    one adaptation as two. Until each recorded run has been run again, nothing is merged; ``replace`` takes what there
    is, and drops the others.
    """
    path = experiments / study / "results.csv"
    fresh = results.load(root, study)
    record = frozen.load(path) if path.exists() else fresh.iloc[:0]
    fresh = _committed_since(fresh, root)
    outcome = Merge(record, refused=sorted(set(fresh.loc[fresh["dirty"], "run_id"])))
    outcome.uncommitted = sorted({name for run_id in outcome.refused for name in results.uncommitted(root, run_id)})
    fresh = fresh[~fresh["dirty"]]
    outcome.outdated = _outdated(fresh)
    fresh = fresh[~fresh["run_id"].isin(outcome.outdated)]
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
        new = fresh[fresh["run_id"].isin(taken)]
        outcome.superseded = sorted(set(_same_settings(record, new)) - set(taken))
        older = _of_other_keys(record, new)
        outcome.waiting = [] if replace else sorted(older - {*outcome.superseded, *taken})
        if outcome.waiting:
            outcome.merged, outcome.superseded = [], []
            return outcome
        outcome.superseded = sorted({*outcome.superseded, *older} - set(taken))
        parts = [record[~record["run_id"].isin([*taken, *outcome.superseded])], new]
        outcome.table = results.typed(pd.concat([rows for rows in parts if len(rows)], ignore_index=True))
        frozen.save(outcome.table, path)
    return outcome


def _committed_since(fresh: pd.DataFrame, root: Path) -> pd.DataFrame:
    """The rows; a run whose sources have been committed since it ran is clean, with that commit."""
    dirty = fresh.loc[fresh["dirty"], "run_id"].unique().tolist()
    commits = {run_id: commit for run_id in dirty if (commit := results.commit_of(root, run_id)) is not None}
    found = fresh["run_id"].isin(commits)
    return fresh.assign(
        commit=fresh["commit"].where(~found, fresh["run_id"].map(commits)), dirty=fresh["dirty"] & ~found
    )


def _outdated(fresh: pd.DataFrame) -> list[str]:
    """The run_ids of ours that have the settings of a run made later: both would count as the same seed."""
    runs = fresh[fresh["source"] == "ours"].drop_duplicates("run_id").sort_values(["created_at", "run_id"])
    if runs.empty:
        return []
    return sorted(runs.loc[_settings(runs, _settings_columns(runs, runs)).duplicated(keep="last").to_numpy(), "run_id"])


def _of_other_keys(record: pd.DataFrame, new: pd.DataFrame) -> set[str]:
    """The run_ids in ``record`` whose keys are of another generation than ``new``'s; published rows have no keys."""
    ours = record[record["source"] == "ours"]
    return set(ours.loc[~_generation(ours).isin(set(_generation(new))), "run_id"])


def _generation(rows: pd.DataFrame) -> pd.Series:
    """The generation of the keys that rows were made under; 1 is older than the word."""
    return rows["versions"].astype("str").str.extract(_GENERATION, expand=False).fillna("1")


def _same_settings(record: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """The run_ids in ``record`` that agree with a run of ``new`` in all settings that both have."""
    of_record, of_new = (_settings(rows, _settings_columns(record, new)) for rows in (record, new))
    return list(of_record[of_record.isin(set(of_new))].index)


def _settings(rows: pd.DataFrame, columns: list[str]) -> pd.Series:
    """The settings of each run as one text, by run_id."""
    return rows.drop_duplicates("run_id").set_index("run_id")[columns].map(_text).agg("|".join, axis=1)


def _settings_columns(one: pd.DataFrame, other: pd.DataFrame) -> list[str]:
    """The factors, and the config columns of both tables; not ``adaptation``, a key, which changes with the code."""
    config = sorted((set(one.columns) & set(other.columns)) - set(results.COLUMNS))
    return [name for name in (*results.FACTORS, *config) if name != "adaptation"]


def _text(value: object) -> str:
    """A cell as text; a whole number reads the same from JSON and from a CSV column with gaps."""
    if pd.isna(value):  # type: ignore[call-overload]  # a cell is a scalar
        return ""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
