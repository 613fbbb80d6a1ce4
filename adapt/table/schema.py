"""The schema of the results table: its columns, in order, and their types. Re-exported by adapt/results.py."""

from __future__ import annotations

import pandas as pd

MEASUREMENT = ("split", "attack", "attack_epsilon", "attack_steps", "metric", "value", "n")
FACTORS = (
    *("source", "model", "corpus", "task", "pretrain", "peft", "adversary", "budget", "seed"),
    *("adversary_epsilon", "adversary_steps", "adaptation", "adaptation_seed"),
)
PROVENANCE = ("commit", "dirty", "created_at", "versions", "device", "threads", "processes")
COLUMNS = ("run_id", *MEASUREMENT, *FACTORS, "experiment", *PROVENANCE)
TUNING = "tuning"  # an additional label of runs that a search tried, in the table of its study
MEASUREMENT_KEY = ("split", "attack", "attack_epsilon", "attack_steps", "metric")  # unique within a run

# Nullable types, because published rows have neither a seed nor a machine. Every other column of the schema is text.
TYPES = {"attack_epsilon": "float64", "attack_steps": "Int64", "value": "float64", "n": "Int64", "seed": "Int64"}
TYPES |= {"dirty": "boolean", "threads": "Int64", "processes": "Int64"}
NUMBERS = frozenset(TYPES)


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the schema's columns first, in order and in their types, then the config's columns by name.

    A missing factor becomes 'none'; a missing number stays missing. In a config column that holds both texts and
    numbers (R3F's noise is 'uniform', SMART's 1.0), numbers become text, the same whether read from a run's file or
    from a CSV.
    """
    table = table.reindex(columns=[*COLUMNS, *sorted(set(table.columns) - set(COLUMNS))])
    return pd.DataFrame({name: typed_column(str(name), table[name]) for name in table.columns}, index=table.index)


def typed_column(name: str, column: pd.Series) -> pd.Series:
    """One column in its type (see typed)."""
    if name in NUMBERS:
        return column.astype(TYPES[name])  # type: ignore[call-overload,no-any-return]
    if name in COLUMNS:
        return column.fillna("none").astype("str")
    return column if pd.api.types.is_numeric_dtype(column) else _as_text(column)


def _as_text(column: pd.Series) -> pd.Series:
    """The column with its numbers as text if it also holds texts that are not numbers; else unchanged."""
    values = column.dropna().unique().tolist()
    numbers = {value: _number_text(value) for value in values}
    if all(numbers.values()) or not any(numbers.values()):
        return column
    return column.map({value: text or value for value, text in numbers.items()})


def _number_text(value: object) -> str | None:
    """'1' for 1, 1.0 and '1.0'; None for what is not a number."""
    if isinstance(value, bool):
        return None
    try:
        return repr(float(value)).removesuffix(".0")  # type: ignore[arg-type]  # raises if it is not a number
    except (TypeError, ValueError):
        return None
