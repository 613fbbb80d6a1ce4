"""A study as files for git: results.csv (one line per measurement), runs.csv (one per run), predictions.parquet.

results.csv has each measurement with the short names of its run, and every setting in which runs of the same names
differ: it can be read and grouped on its own. runs.csv has each run's provenance and the rest of its config, which
would otherwise be repeated in each of its lines. predictions.parquet has one row per run and test example; older
studies do not have it.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet

from adapt.results import (
    COLUMNS,
    FACTORS,
    MEASUREMENT,
    MEASUREMENT_KEY,
    NUMBERS,
    PROVENANCE,
    TUNING,
    replace,
    typed,
)

RUNS, PREDICTIONS = "runs.csv", "predictions.parquet"
_NAMES, _NUMBER = pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), pyarrow.int32()
_PACKED = pyarrow.schema(
    {
        **{"run_id": _NAMES, "example": _NUMBER, "word": _NUMBER, "text_hash": _NAMES},
        **{"gold": _NAMES, "predicted": _NAMES, "clean": pyarrow.bool_(), "classes": _NUMBER},
    }
)
PREDICTED = list(_PACKED.names)
_WHERE = [name for name in FACTORS if name != "adaptation"]  # a key, whose order means nothing


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the rows to ``path`` and their runs to runs.csv beside it. A new run adds lines and changes none, unless it
    differs from another of the same names in a setting that has no column yet.

    Rows are sorted; floats are in their shortest exact form.
    """
    of_runs = ["run_id", *PROVENANCE, *sorted(set(table.columns) - set(COLUMNS) - set(telling(table)))]
    rows = table.sort_values([*_WHERE, "run_id", *MEASUREMENT_KEY], kind="stable")
    runs = rows.drop_duplicates("run_id")[of_runs]
    replace(path, rows.drop(columns=of_runs[1:]).to_csv(index=False, lineterminator="\n"))
    replace(path.with_name(RUNS), runs.to_csv(index=False, lineterminator="\n"))


def telling(table: pd.DataFrame) -> list[str]:
    """The settings by which runs differ that have the same FACTORS, seeds aside.

    They are the options' names that vary among such runs, and every other setting, except paths, that tells apart what
    the names before it do not.
    """
    runs = table.drop_duplicates("run_id")
    factors = [name for name in FACTORS if "seed" not in name and name != "adaptation"]
    settings = [name for name in set(table.columns) - {*COLUMNS, TUNING} if not name.endswith(("seed", "path"))]
    settings.sort(key=lambda name: (not name.endswith((".name", ".method")), name))
    cells = runs.groupby(factors, dropna=False).ngroup()
    cell = cells
    telling = []
    for name in settings:
        option = name.endswith((".name", ".method"))
        if (runs[name].groupby(cells if option else cell).nunique(dropna=False) > 1).any():
            telling.append(name)
            cell = runs.assign(cell=cell).groupby(["cell", name], dropna=False).ngroup()
    return telling


def load(path: Path | str) -> pd.DataFrame:
    """The rows of a CSV file in the results schema, joined with the runs.csv beside it if there is one.

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


def packed(predictions: pd.DataFrame) -> bytes:
    """Predictions as the bytes of a Parquet file: sorted rows, dictionary-encoded names, zstd.

    predictions: the columns PREDICTED. The same rows give the same bytes.
    """
    rows = predictions[PREDICTED].sort_values(["run_id", "example", "word"], kind="stable", ignore_index=True)
    names = {column: pd.Categorical(rows[column]) for column in ("run_id", "text_hash")}
    labels = pd.Index(_ordered(set(rows["gold"]) | set(rows["predicted"])))
    names |= {column: pd.Categorical(rows[column].astype("str"), labels) for column in ("gold", "predicted")}
    table = pyarrow.Table.from_pandas(rows.assign(**names), preserve_index=False).cast(_PACKED)
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content, compression="zstd", compression_level=19, row_group_size=2**20)
    return content.getvalue()


def load_predictions(folder: Path | str) -> pd.DataFrame:
    """The frozen predictions of a study's folder: PREDICTED, and ``correct``; no rows for a study that has none.

    gold, predicted: names of labels; classes: the number of labels of the run's task. Raises ValueError for a file with
    other columns.
    """
    path = Path(folder, PREDICTIONS)
    if not path.exists():
        return pd.DataFrame({name: [] for name in [*PREDICTED, "correct"]})
    table = pyarrow.parquet.read_table(path).to_pandas()
    if list(table.columns) != PREDICTED:
        raise ValueError(f"{path}: columns {', '.join(map(str, table.columns))}; needed are {', '.join(PREDICTED)}")
    return table.assign(correct=table["gold"].astype("str") == table["predicted"].astype("str"))


def _ordered(labels: set[str]) -> list[str]:
    """The labels in the order that tasks use: numerical if all are integers, else alphabetical."""
    return sorted(labels, key=int) if all(re.fullmatch(r"-?\d+", name) for name in labels) else sorted(labels)


def _read(path: Path) -> pd.DataFrame:
    text = {name: str for name in COLUMNS if name not in NUMBERS}
    return pd.read_csv(
        path, dtype=text, keep_default_na=False, na_values=[""], float_precision="round_trip", low_memory=False
    )
