"""A table as two CSV files that git can keep: results.csv, a line a measurement, and runs.csv, a line a run.

results.csv has the measurement and the short names of its run, and can be read on its own; runs.csv has the run's
provenance and its whole config, which would otherwise stand in each of its lines.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from adapt.results import COLUMNS, FACTORS, IDENTITY, MEASUREMENT, NUMBERS, PROVENANCE, replace, typed

RUNS = "runs.csv"
_WHERE = [name for name in FACTORS if name != "adaptation"]  # which is a key, and orders nothing


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the rows to ``path`` and their runs to runs.csv beside it, so that a new run adds lines and changes none.

    Rows are sorted; floats are in their shortest exact form.
    """
    of_runs = ["run_id", *PROVENANCE, *sorted(set(table.columns) - set(COLUMNS))]
    rows = table.sort_values([*_WHERE, "run_id", *IDENTITY], kind="stable")
    runs = rows.drop_duplicates("run_id")[of_runs]
    replace(path, rows.drop(columns=of_runs[1:]).to_csv(index=False, lineterminator="\n"))
    replace(path.with_name(RUNS), runs.to_csv(index=False, lineterminator="\n"))


def load(path: Path | str) -> pd.DataFrame:
    """The rows of a CSV file in the results schema, with the runs.csv beside it where there is one.

    Raises ValueError for a file without the columns of a measurement, and for a run that runs.csv lacks.
    """
    table = _read(Path(path))
    missing = [name for name in MEASUREMENT if name not in table.columns]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)} of a results table")
    beside = Path(path).with_name(RUNS)
    if beside.exists():
        runs = _read(beside)
        unknown = sorted(set(table["run_id"]) - set(runs["run_id"]))
        if unknown:
            raise ValueError(f"{beside} lacks {len(unknown)} runs of {path}, such as {unknown[0]}: restore both files")
        table = table.merge(runs, on="run_id", how="left", validate="many_to_one")
    return typed(table)


def _read(path: Path) -> pd.DataFrame:
    text = {name: str for name in COLUMNS if name not in NUMBERS}
    return pd.read_csv(
        path, dtype=text, keep_default_na=False, na_values=[""], float_precision="round_trip", low_memory=False
    )
