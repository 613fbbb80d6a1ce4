"""One row = one measured number: the one definition of the results table, and how runs write and read it.

A run writes ``<root>/runs/<run_id>.json`` and, for each study it belongs to, ``<root>/studies/<study>/<run_id>.json``
with the labels it has there. ``load`` joins them to a tidy table. Imports pandas, never torch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adapt import records
from adapt.files import replace

MEASUREMENT = ("split", "attack", "attack_epsilon", "attack_steps", "metric", "value", "n")
FACTORS = (
    *("source", "model", "corpus", "task", "pretrain", "peft", "adversary", "budget", "seed"),
    *("adversary_epsilon", "adversary_steps", "adaptation", "adaptation_seed"),
)
PROVENANCE = ("commit", "dirty", "created_at", "versions", "device", "threads", "processes")
COLUMNS = ("run_id", *MEASUREMENT, *FACTORS, "experiment", *PROVENANCE)
TUNING = "tuning"  # a further label of runs that a search tried, in the table of its study
IDENTITY = ("split", "attack", "attack_epsilon", "attack_steps", "metric")  # of a measurement within its run

# Nullable types, because published rows have neither a seed nor a machine. Every other column is text.
_TYPES = {"attack_epsilon": "float64", "attack_steps": "Int64", "value": "float64", "n": "Int64", "seed": "Int64"}
_TYPES |= {"dirty": "boolean", "threads": "Int64", "processes": "Int64"}
NUMBERS = frozenset(_TYPES)
_MEASURED = {name: _TYPES.get(name, "str") for name in MEASUREMENT}
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
) -> Path:
    """Write a run's rows (whole, then renamed) and its entry in the study.

    evaluation: the name of its evaluation's folder in the store, which several runs may share.
    measurements: dicts with the keys MEASUREMENT; attack_epsilon and attack_steps are 0 where attack is 'none'. A value
    that is None or NaN is a missing number: its row is left out. factors: FACTORS (source is 'ours' unless given);
    numbers other than the seed become labels. config: the nested science config. Returns the run's file.
    Raises ValueError for an unknown or missing column, an infinite value, or a measurement that is there twice.
    """
    factors = {"source": "ours"} | factors
    _check_keys("factors", factors, FACTORS)
    _check_keys("provenance", provenance, PROVENANCE)
    labels = {name: int(factors[name]) if name == "seed" else _label(factors[name]) for name in FACTORS}
    record = {
        "run_id": run_id,
        "evaluation": evaluation,
        "factors": labels,
        "provenance": {name: provenance[name] for name in PROVENANCE},
        "config": flatten(config),
        "measurements": _checked(measurements),
    }
    path = Path(root, "runs", f"{run_id}.json")
    _write_whole(path, record)
    if experiment is not None:
        entry = Path(root, "studies", experiment, f"{run_id}.json")
        _write_whole(entry, {"run_id": run_id} | labels | _mark_of(entry))
    return path


def evaluation(root: Path | str, run_id: str) -> Path:
    """The folder in the store where the answers of a run lie; runs whose chains come to the same text share it."""
    return Path(root, "store", "evaluate", _read(Path(root, "runs", f"{run_id}.json"))["evaluation"])


def score(root: Path | str, run_id: str, metric: str, split: str) -> float:
    """The clean score of a run that has rows. Raises KeyError where it has none of this metric and split."""
    for row in _read(Path(root, "runs", f"{run_id}.json"))["measurements"]:
        if (row["metric"], row["split"], row["attack"]) == (metric, split, "none"):
            return float(row["value"])
    raise KeyError(f"{run_id} has no {metric} of {split}")


def mark(root: Path | str, study: str, run_ids: Iterable[str], tuning: str) -> None:
    """Say of runs of a study that they are all the trials of a finished search: a column ``tuning`` of its table."""
    for run_id in run_ids:
        path = Path(root, "studies", study, f"{run_id}.json")
        _write_whole(path, _read(path) | {TUNING: tuning})


def _mark_of(entry: Path) -> dict[str, str]:
    """What a search has said of a run: a sweep that comes to the same run does not unsay it."""
    try:
        known = _read(entry)
    except (FileNotFoundError, ValueError):  # none yet, or a torn one, which is about to be written whole
        return {}
    return {TUNING: known[TUNING]} if TUNING in known else {}


def load(root: Path | str, experiment: str | None = None) -> pd.DataFrame:
    """Every row under root, or those of one study under that study's labels; a run stands in the table once.

    Columns: COLUMNS, then the science config under dotted names (null and absent are both NaN; a list is JSON text).
    Without ``experiment`` the column of that name lists the run's studies, joined by a comma, or is 'none'.
    Raises ValueError for a file that is not a run's.
    """
    belongs = _membership(Path(root, "studies"))
    names = [name for name in _names(Path(root, "runs")) if experiment is None or experiment in belongs.get(name, ())]
    runs = records.read(Path(root, "runs"), names, _MEASURED, needed=("run_id", *_PARTS, "measurements"))
    if experiment is None:
        labels = runs.part("factors")
        of = [",".join(belongs.get(name, ["none"])) for name in names]
    else:
        labels = records.read(Path(root, "studies", experiment), names, {}).part("")
        of = [experiment] * len(names)
    named = {"run_id": runs.part("")["run_id"], "experiment": records.coded(of)} if names else {}
    columns = records.overlaid([runs.part("config"), named, labels, runs.part("provenance")])
    of_row, absent = np.repeat(np.arange(len(names)), runs.lengths), records.coded([None] * len(names))
    measured = runs.row_columns(_MEASURED)
    order = [*COLUMNS, *sorted(set(columns) - set(COLUMNS))]
    return pd.DataFrame(
        {
            name: measured[name] if name in measured else _of_rows(name, columns.get(name, absent), of_row)
            for name in order
        }
    )


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the schema's columns first, in order and in their types, then the config's columns by name.

    A factor that is absent is 'none'; an absent number is missing. In a config column that holds both words and
    numbers (R3F's noise is 'uniform', SMART's 1.0) the numbers are text, the same from a run's file and from a CSV.
    """
    table = table.reindex(columns=[*COLUMNS, *sorted(set(table.columns) - set(COLUMNS))])
    return pd.DataFrame({name: _typed(str(name), table[name]) for name in table.columns}, index=table.index)


def _typed(name: str, column: pd.Series) -> pd.Series:
    if name in NUMBERS:
        return column.astype(_TYPES[name])  # type: ignore[call-overload,no-any-return]
    if name in COLUMNS:
        return column.fillna("none").astype("str")
    return column if pd.api.types.is_numeric_dtype(column) else _as_text(column)


def _of_rows(name: str, column: records.Coded, of_row: np.ndarray) -> pd.Series:
    """A column of runs as one of their rows. Its type is found from its distinct values, which are few."""
    cells = [{name: value} for value in column.values] + [{}] * bool((column.codes < 0).any())
    distinct = _typed(name, pd.DataFrame(cells, columns=[name])[name])
    return pd.Series(distinct.array.take(column.codes[of_row]), dtype=distinct.dtype)  # -1 takes the last, the absent


def _names(folder: Path) -> list[str]:
    """Of the JSON files of a folder and no temporary ones."""
    found = os.listdir(folder) if folder.is_dir() else []
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json") and name[0] != ".")


def _membership(folder: Path) -> dict[str, list[str]]:
    """The studies of each run, in their order."""
    found: dict[str, list[str]] = {}
    for study in studies(folder.parent):
        for name in _names(folder / study):
            found.setdefault(name, []).append(study)
    return found


def _as_text(column: pd.Series) -> pd.Series:
    """A column with its numbers as text, where it holds any word that is no number; else as it is."""
    values = column.dropna().unique().tolist()
    numbers = {value: _number_text(value) for value in values}
    if all(numbers.values()) or not any(numbers.values()):
        return column
    return column.map({value: text or value for value, text in numbers.items()})


def _number_text(value: object) -> str | None:
    """'1' for 1, 1.0 and '1.0'; None for what is no number."""
    if isinstance(value, bool):
        return None
    try:
        return repr(float(value)).removesuffix(".0")  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return None


def failed(root: Path | str) -> pd.DataFrame:
    """The jobs that failed and have not succeeded since: experiment, overrides, created_at, error, traceback, path.

    error is the last line of the traceback.
    """
    paths = sorted(Path(root, "jobs").rglob("*.json"))
    records = [record | {"path": str(path)} for path in paths if (record := _read(path)).get("state") == "failed"]
    table = pd.DataFrame(records, columns=["experiment", "overrides", "created_at", "traceback", "path"])
    table["overrides"] = table["overrides"].map(" ".join)
    table = table.astype("str")
    return table.assign(error=table["traceback"].str.strip().str.rsplit("\n", n=1).str[-1])


def studies(root: Path | str) -> list[str]:
    """Names of the studies that have a run under root."""
    top = Path(root, "studies")
    folders = [Path(folder) for folder, _, files in os.walk(top) if any(name.endswith(".json") for name in files)]
    return sorted(folder.relative_to(top).as_posix() for folder in folders)


def same_rows(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Equal in every column but created_at, and in every metric but time and memory, whatever the order of the rows."""
    return _comparable(a).equals(_comparable(b))


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}. Lists become JSON text, so that every value is a cell of a table."""
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
        identity = tuple(row[name] for name in IDENTITY)
        if math.isinf(row["value"]):
            raise ValueError(f"the value of {identity} is infinite: a number that does not exist is a missing row")
        if identity in seen:
            raise ValueError(f"two measurements of one run are both {dict(zip(IDENTITY, identity, strict=True))}")
        seen.add(identity)
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
    # A column's type depends on the other runs of its table: a whole number beside a gap is a float.
    numbers = [name for name, kind in table.dtypes.items() if pd.api.types.is_numeric_dtype(kind) and kind != "bool"]
    table = table.astype(dict.fromkeys(numbers, "float64"))
    return table.sort_values(["run_id", *IDENTITY], ignore_index=True)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def _write_whole(path: Path, content: dict[str, Any]) -> None:
    replace(path, json.dumps(content, allow_nan=False) + "\n")
