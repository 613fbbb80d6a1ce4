"""Rows of Parquet and Arrow files; integers that stand for names there (ClassLabel of datasets) are read as names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from adapt.config import ConfigError

KEY_NAME = "data.columnar"
VERSION = 1


def parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, columns) of each row of a .parquet file. Raises ConfigError; see rows."""
    with pyarrow.parquet.ParquetFile(file) as table:
        yield from rows(file, table.schema_arrow, table.iter_batches())


def arrow_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, columns) of each row of an Arrow stream, as ``save_to_disk`` writes it, or of an Arrow file."""
    with pyarrow.memory_map(str(file)) as source:
        try:
            stream = pyarrow.ipc.open_stream(source)
        except pyarrow.ArrowInvalid:
            whole = pyarrow.ipc.open_file(source)
            yield from rows(file, whole.schema, (whole.get_batch(n) for n in range(whole.num_record_batches)))
            return
        yield from rows(file, stream.schema, stream)


def rows(file: Path, schema: pyarrow.Schema, batches: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of record batches. Raises ConfigError for two columns of one name, and an integer without a name."""
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise ConfigError(f"{file}: two columns are called {twice[0]!r}; rename or remove one")
    names = class_names(schema)
    number = 0
    for batch in batches:
        for columns in batch.to_pylist():
            number += 1
            where = f"{file}: row {number}"
            for column, of_column in names.items():
                columns[column] = named(where, column, columns[column], of_column)
            yield where, columns


def class_names(schema: pyarrow.Schema) -> dict[str, list[str]]:
    """The names of the values of each column of ClassLabel, or of lists of them, from the schema's own description."""
    written = (schema.metadata or {}).get(b"huggingface")
    features = json.loads(written).get("info", {}).get("features", {}) if written else {}
    found = {}
    for column, feature in features.items():
        while isinstance(feature, list) or (isinstance(feature, dict) and "feature" in feature):
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names"):
            found[column] = list(feature["names"])
    return {column: of_column for column, of_column in found.items() if column in schema.names}


def named(where: str, column: str, value: Any, names: list[str]) -> Any:
    """A value, or each of a list, by its name; None and -1, which stand for no label, become None."""
    if isinstance(value, list):
        return [named(where, column, one, names) for one in value]
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise ConfigError(f"{where}: column {column!r} holds {value!r}; its {len(names)} names are {', '.join(names)}")
    return names[value]
