"""The results table, in which one row is one measured number: how runs write it and how it is read.

A run writes ``<root>/runs/<run_id>.json`` and, for each study that it belongs to,
``<root>/studies/<study>/<run_id>.json`` with its labels in that study. ``load`` joins them into a tidy table. Beside
them, ``<root>/predictions/<run_id>.parquet`` holds the run's predictions for the test examples, and
``<root>/samples/<run_id>.jsonl`` the texts that its language model wrote. Imports pandas, never torch.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adapt.store.files import replace
from adapt.table import metrics as metrics  # "as" marks a name that others import from here
from adapt.table import reading as reading
from adapt.table import run_files
from adapt.table.samples import SAMPLED as SAMPLED
from adapt.table.samples import samples as samples
from adapt.table.schema import COLUMNS as COLUMNS
from adapt.table.schema import FACTORS as FACTORS
from adapt.table.schema import MEASUREMENT as MEASUREMENT
from adapt.table.schema import MEASUREMENT_KEY as MEASUREMENT_KEY
from adapt.table.schema import NUMBERS as NUMBERS
from adapt.table.schema import PROVENANCE as PROVENANCE
from adapt.table.schema import TUNING as TUNING
from adapt.table.schema import TYPES, typed_column
from adapt.table.schema import typed as typed

_MEASURED = {name: TYPES.get(name, "str") for name in MEASUREMENT}
_PARTS = ("config", "factors", "provenance")
_TIME_OR_MEMORY = r"seconds$|_per_second$|memory_bytes$"


def write(
    root: Path | str,
    run_id: str,
    *,
    evaluation: str,
    measurements: list[dict[str, Any]],
    factors: dict[str, Any],
    config: dict[str, Any],
    provenance: dict[str, Any],
    experiment: str | None,
    code: list[str | None] | None = None,
    readings: Sequence[str] = (),
) -> Path:
    """Write a run's rows and its entry in the study; each file is written to a temporary name, then renamed.

    evaluation: the name of its evaluation's folder in the store, which several runs may share.
    measurements: dicts with the keys MEASUREMENT; attack_epsilon and attack_steps are 0 if attack is 'none'. A row
    whose value is None or NaN is left out. factors: FACTORS (source is 'ours' unless given); numbers other than the
    seed become labels. config: the nested science config. code: the states of its dirty stages (adapt.store.code), for
    ``commit_of``. readings: <kind>/<folder> of stages in the store that told how the run's texts are read. Returns the
    run's file.
    Raises ValueError for an unknown or missing column, an infinite value, or two measurements with the same key.
    """
    factors = {"source": "ours"} | factors
    _check_keys("factors", factors, FACTORS)
    _check_keys("provenance", provenance, PROVENANCE)
    labels = {name: int(factors[name]) if name == "seed" else _label(factors[name]) for name in FACTORS}
    record = {
        "run_id": run_id,
        "evaluation": evaluation,
        "readings": list(readings),
        "factors": labels,
        "provenance": {name: provenance[name] for name in PROVENANCE},
        "config": flatten(config),
        "measurements": _checked(measurements),
    } | ({"code": code} if code else {})
    path = Path(root, "runs", f"{run_id}.json")
    _write_whole(path, record)
    if experiment is not None:
        entry = Path(root, "studies", experiment, f"{run_id}.json")
        _write_whole(entry, {"run_id": run_id} | labels | _mark_of(entry))
    return path


def commit_of(root: Path | str, run_id: str) -> str | None:
    """The commit that holds the sources of a dirty run as they were when it ran; None if there is none so far."""
    states = _read(Path(root, "runs", f"{run_id}.json")).get("code")
    if not states:
        return None
    from adapt.store import code  # only here, because it needs OmegaConf, which reading a table does not

    return code.committed(Path(root), states)


def uncommitted(root: Path | str, run_id: str) -> list[str]:
    """The sources of a dirty run that no commit holds as they were when it ran, as far as they are known."""
    states = _read(Path(root, "runs", f"{run_id}.json")).get("code")
    if not states:
        return []
    from adapt.store import code

    known = (code.read(Path(root), name) for name in states if name is not None)
    open_ones = [sources for sources in known if sources is not None and code.commit_of(sources) is None]
    return sorted({name for sources in open_ones for name in code.differing(sources)})


def evaluation(root: Path | str, run_id: str) -> Path:
    """The folder in the store with a run's evaluation; runs whose chains lead to the same text share it."""
    return Path(root, "store", "evaluate", _read(Path(root, "runs", f"{run_id}.json"))["evaluation"])


def readings(root: Path | str, run_id: str) -> list[Path]:
    """The folders in the store of the stages that told how a run's texts are read; none for a run of older code."""
    names: list[str] = _read(Path(root, "runs", f"{run_id}.json")).get("readings", [])
    return [Path(root, "store", name) for name in names]


def has_predictions(root: Path | str, run_id: str) -> bool:
    """Whether the run's predictions are stored. A run that older code wrote has none until it is run again."""
    return _predictions_of(root, run_id).exists()


def write_predictions(root: Path | str, run_id: str, table: pd.DataFrame) -> None:
    """Write a run's predictions, which ``predictions`` reads: to a temporary name, then renamed."""
    content = io.BytesIO()
    table.to_parquet(content, compression="zstd", index=False)
    replace(_predictions_of(root, run_id), content.getvalue())


def predictions(root: Path | str, run_id: str) -> pd.DataFrame:
    """The predictions of a run for its test examples: one row per example; for a tagging task, one row per word.

    Columns: example (its place in the test split of the task stage), word (its place in the sentence; 0 for a text),
    text_hash (sha256 of the example's texts, 16 digits: the same in every run and study), gold, predicted (categories:
    all labels of the task), correct, clean (no training text contains it: split test_clean); under attack
    'answer@<epsilon>' and 'answer@text:<recipe>', missing for examples that were not attacked; 'logit:<label>' for each
    label, except for taggers. 'answer@' is right or wrong as the row of that radius counts it; a wrong label is that of
    the smallest perturbation that the attack found. Raises FileNotFoundError if the run has no stored predictions.
    """
    path = _predictions_of(root, run_id)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no predictions of this run; run its command again to write them")
    return pd.read_parquet(path)


def _predictions_of(root: Path | str, run_id: str) -> Path:
    return Path(root, "predictions", f"{run_id}.parquet")


def score(root: Path | str, run_id: str, metric: str, split: str) -> float:
    """The score of a run without attack. Raises KeyError if it has no row of this metric and split."""
    for row in _read(Path(root, "runs", f"{run_id}.json"))["measurements"]:
        if (row["metric"], row["split"], row["attack"]) == (metric, split, "none"):
            return float(row["value"])
    raise KeyError(f"{run_id} has no {metric} of {split}")


def mark(root: Path | str, study: str, run_ids: Iterable[str], tuning: str) -> None:
    """Record, as column ``tuning`` of a study's table, that these runs are all the trials of a finished search."""
    for run_id in run_ids:
        path = Path(root, "studies", study, f"{run_id}.json")
        _write_whole(path, _read(path) | {TUNING: tuning})


def _mark_of(entry: Path) -> dict[str, str]:
    """The mark that a search has put on a run; a sweep that repeats the run does not remove it."""
    try:
        content = _read(entry)
    except (FileNotFoundError, ValueError):  # there is none yet, or half a file, which is about to be replaced
        return {}
    return {TUNING: content[TUNING]} if TUNING in content else {}


def load(root: Path | str, experiment: str | None = None) -> pd.DataFrame:
    """All rows under root, or those of one study with that study's labels; each run is in the table once.

    Columns: COLUMNS, then the science config under dotted names (null and absent are both NaN; a list is JSON text).
    Without ``experiment``, the column of that name has the run's studies, joined by commas, or 'none'.
    Raises ValueError for a file that no run wrote.
    """
    studies_of = _membership(Path(root, "studies"))
    names = [
        name for name in _names(Path(root, "runs")) if experiment is None or experiment in studies_of.get(name, ())
    ]
    runs = run_files.read(Path(root, "runs"), names, _MEASURED, needed=("run_id", *_PARTS, "measurements"))
    if experiment is None:
        labels = runs.part("factors")
        of = [",".join(studies_of.get(name, ["none"])) for name in names]
    else:
        labels = run_files.read(Path(root, "studies", experiment), names, {}).part("")
        of = [experiment] * len(names)
    named = {"run_id": runs.part("")["run_id"], "experiment": run_files.coded(of)} if names else {}
    columns = run_files.overlaid([runs.part("config"), named, labels, runs.part("provenance")])
    of_row, absent = np.repeat(np.arange(len(names)), runs.lengths), run_files.coded([None] * len(names))
    measured = runs.row_columns(_MEASURED)
    order = [*COLUMNS, *sorted(set(columns) - set(COLUMNS))]
    return pd.DataFrame(
        {
            name: measured[name] if name in measured else _of_rows(name, columns.get(name, absent), of_row)
            for name in order
        }
    )


def _of_rows(name: str, column: run_files.Coded, of_row: np.ndarray) -> pd.Series:
    """A column with one value per run, repeated for the run's rows. Its few distinct values determine its type."""
    cells = [{name: value} for value in column.values] + [{}] * bool((column.codes < 0).any())
    distinct = typed_column(name, pd.DataFrame(cells, columns=[name])[name])
    return pd.Series(distinct.array.take(column.codes[of_row]), dtype=distinct.dtype)  # -1 takes the last: absent


def _names(folder: Path) -> list[str]:
    """The names of the JSON files of a folder, without temporary ones."""
    files = os.listdir(folder) if folder.is_dir() else []
    return sorted(name.removesuffix(".json") for name in files if name.endswith(".json") and name[0] != ".")


def _membership(folder: Path) -> dict[str, list[str]]:
    """The studies of each run, in alphabetical order."""
    studies_of: dict[str, list[str]] = {}
    for study in studies(folder.parent):
        for name in _names(folder / study):
            studies_of.setdefault(name, []).append(study)
    return studies_of


def failed(root: Path | str) -> pd.DataFrame:
    """The jobs that failed and have not succeeded since.

    Columns: experiment, overrides, created_at, traceback, path, error (the last line of the traceback).
    """
    paths = sorted(Path(root, "jobs").rglob("*.json"))
    records = [record | {"path": str(path)} for path in paths if (record := _read(path)).get("state") == "failed"]
    table = pd.DataFrame(records, columns=["experiment", "overrides", "created_at", "traceback", "path"])
    table["overrides"] = table["overrides"].map(" ".join)
    table = table.astype("str")
    return table.assign(error=table["traceback"].str.strip().str.rsplit("\n", n=1).str[-1])


def grid(root: Path | str, study: str) -> tuple[list[str], int]:
    """The runs of a study's grid that are not done, each as its overrides, and how many runs the grid has.

    None of none for a study whose grid this root does not know.
    """
    try:
        points = [tuple(point) for point in json.loads(Path(root, "grids", f"{study}.json").read_bytes())]
    except (FileNotFoundError, ValueError):
        return [], 0
    records = (_read(path) for path in Path(root, "jobs", study).glob("*.json"))
    done = {tuple(record["overrides"]) for record in records if record.get("state") == "done"}
    return [" ".join(point) for point in points if point not in done], len(points)


def studies(root: Path | str) -> list[str]:
    """The names of the studies under root that have a run."""
    top = Path(root, "studies")
    folders = [Path(folder) for folder, _, files in os.walk(top) if any(name.endswith(".json") for name in files)]
    return sorted(folder.relative_to(top).as_posix() for folder in folders)


def same_rows(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables are equal, except for created_at, metrics of time and memory, and the order of rows."""
    return _comparable(a).equals(_comparable(b))


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}. Lists become JSON text, so that every value fits in a cell of a table."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(list(value)) if isinstance(value, (list, tuple)) else value
    return flat


def _checked(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows, seen = [], set()
    for given in measurements:
        _check_keys("a measurement", given, MEASUREMENT)
        if given["value"] is None or math.isnan(given["value"]):
            continue
        row = {name: _plain(given[name]) for name in MEASUREMENT}
        key = tuple(row[name] for name in MEASUREMENT_KEY)
        if math.isinf(row["value"]):
            raise ValueError(f"the value of {key} is infinite; leave out the row of a number that does not exist")
        if key in seen:
            raise ValueError(f"two measurements of one run are both {dict(zip(MEASUREMENT_KEY, key, strict=True))}")
        seen.add(key)
        rows.append(row)
    return rows


def _check_keys(what: str, given: dict[str, Any], wanted: tuple[str, ...]) -> None:
    if set(given) != set(wanted):
        unknown, missing = sorted(set(given) - set(wanted)), sorted(set(wanted) - set(given))
        raise ValueError(f"{what} must have exactly the keys {', '.join(wanted)}: {unknown=}, {missing=}")


def _label(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _comparable(table: pd.DataFrame) -> pd.DataFrame:
    table = table[~table["metric"].str.contains(_TIME_OR_MEMORY)].drop(columns="created_at")
    table = table.dropna(axis="columns", how="all").sort_index(axis="columns").infer_objects()
    # A column's type depends on the other runs of the table: integers beside a missing value are floats.
    numbers = [name for name, kind in table.dtypes.items() if pd.api.types.is_numeric_dtype(kind) and kind != "bool"]
    table = table.astype(dict.fromkeys(numbers, "float64"))
    return table.sort_values(["run_id", *MEASUREMENT_KEY], ignore_index=True)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def _write_whole(path: Path, content: dict[str, Any]) -> None:
    replace(path, json.dumps(content, allow_nan=False) + "\n")
