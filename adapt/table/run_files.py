"""Reads a folder of JSON files as columns, with a cache in one file beside them, so that each file is parsed once.

Parsing ten thousand runs takes many seconds, and their table is read again and again. The cache is used for a file
whose inode, size and times have not changed. It is written atomically, and may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from adapt.store.files import replace

CACHE = ".records.arrow"
CACHE_FROM = 200  # the cache is written once so many files had to be parsed, so small folders have none
FORMAT = b"1"
_FILE, _STAMP, _LENGTH = "file", "stamp", "length"
_KEYS = pa.schema([(_FILE, pa.large_string()), (_STAMP, pa.large_string()), (_LENGTH, pa.int64())])


class NotARecord(ValueError):
    """A file that is not the record of a run; the message names it."""


@dataclass(frozen=True)
class Coded:
    """A column by its distinct values. codes: [records], the index in ``values``, -1 where a record has no value."""

    codes: np.ndarray
    values: list[Any]


@dataclass(frozen=True)
class Records:
    """The content of the files of a folder.

    cells: one row per file. Besides _KEYS, it has a column ``<part>/<key>`` for each key of each part of the files,
    with values as JSON text, null where a file has no such key.
    rows: the rows of the files' own tables, one file after another.
    """

    cells: pa.Table
    rows: pa.Table

    def part(self, name: str) -> dict[str, Coded]:
        """The columns of one part: a dict of this name in the files; '' stands for the values outside any dict."""
        names = [column for column in self.cells.column_names if column.startswith(f"{name}/")]
        columns = {column.removeprefix(f"{name}/"): self._coded(column) for column in names}
        return {key: column for key, column in columns.items() if column.values}  # the cache has other files' columns

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many rows each file's own table has."""
        return self.cells[_LENGTH].to_numpy()

    def row_columns(self, types: Mapping[str, str]) -> dict[str, pd.Series]:
        """The columns of the rows, each in its type."""
        columns = {}
        for name, kind in types.items():
            column = self.rows[name].combine_chunks()
            if kind == "str":
                column = column.dictionary.take(column.indices)
            columns[name] = pd.Series(column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get), dtype=kind)
        return columns

    def take(self, places: np.ndarray) -> Records:
        """The records of the files at these places, in this order."""
        if np.array_equal(places, np.arange(len(self.cells))):
            return self
        starts = np.cumsum(self.lengths) - self.lengths
        within = [np.arange(start, start + length) for start, length in zip(starts, self.lengths, strict=True)]
        rows = np.concatenate([np.arange(0), *(within[place] for place in places)])
        return Records(self.cells.take(pa.array(places)), self.rows.take(pa.array(rows)))

    def _coded(self, column: str) -> Coded:
        cells = self.cells[column].combine_chunks()
        codes = cells.indices.fill_null(-1).to_numpy()
        used = _used(codes, cells.dictionary.to_pylist())
        return Coded(used.codes, [json.loads(text) for text in used.values])


def coded(values: Sequence[str | None]) -> Coded:
    """A column of texts; None stands for no value."""
    codes, distinct = pd.factorize(np.array(values, dtype=object))
    return Coded(codes, distinct.tolist())


def overlaid(parts: Iterable[dict[str, Coded]]) -> dict[str, Coded]:
    """The columns of all parts; where a record has a key in several parts, the last part wins."""
    columns: dict[str, Coded] = {}
    for part in parts:
        for name, column in part.items():
            under = columns.get(name)
            if under is not None and (column.codes < 0).any():
                codes = np.where(column.codes < 0, under.codes, column.codes + len(under.values))
                column = _used(codes, [*under.values, *column.values])
            columns[name] = column
    return columns


def read(folder: Path, names: Sequence[str], types: Mapping[str, str], needed: Iterable[str] = ()) -> Records:
    """The files ``<name>.json`` of a folder, in this order.

    types: the columns of the files' own table (a list of dicts under 'measurements') and their types; empty if they
    have no table. needed: keys that a file must have. Raises NotARecord.
    """
    known = _cached(folder, types)
    stamps = {name: _stamp(folder / f"{name}.json") for name in names}
    cached = zip(known.cells[_FILE].to_pylist(), known.cells[_STAMP].to_pylist(), strict=True)
    places = {name: place for place, (name, stamp) in enumerate(cached) if stamps.get(name) == stamp}
    fresh = [name for name in names if name not in places]
    if fresh:
        places |= {name: len(known.cells) + number for number, name in enumerate(fresh)}
        known = _joined(known, _parsed(folder, {name: stamps[name] for name in fresh}, types, set(needed)))
    records = known.take(np.array([places[name] for name in names], dtype="int64"))
    if len(fresh) >= CACHE_FROM:
        others = {entry.removesuffix(".json") for entry in os.listdir(folder)} - set(names)
        unread = [place for place, name in enumerate(known.cells[_FILE].to_pylist()) if name in others]
        _write_cache(folder, types, _joined(records, known.take(np.array(unread, dtype="int64"))))
    return records


def _parsed(folder: Path, stamps: Mapping[str, str], types: Mapping[str, str], needed: set[str]) -> Records:
    shapes: dict[tuple[str, tuple[str, ...]], tuple[list[int], list[Iterable[Any]]]] = {}
    rows: list[tuple[Any, ...]] = []
    lengths = []
    for number, name in enumerate(stamps):
        path = folder / f"{name}.json"
        try:
            record = json.loads(path.read_bytes())
            if missing := needed - set(record):
                raise KeyError(*sorted(missing))
            table = record.pop("measurements") if types else []
            rows += map(itemgetter(*types), table) if table else ()
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise NotARecord(f"{path} is not the file of a run ({error!r}): remove it and run again") from error
        lengths.append(len(table))
        parts = {part: content for part, content in record.items() if isinstance(content, dict)}
        parts[""] = {key: value for key, value in record.items() if key not in parts}
        for part, content in parts.items():
            places, contents = shapes.setdefault((part, tuple(content)), ([], []))
            places.append(number)
            contents.append(content.values())
    columns: dict[str, tuple[list[int], list[Any]]] = {}
    for (part, keys), (places, contents) in shapes.items():
        for key, values in zip(keys, zip(*contents, strict=True), strict=True):
            all_places, all_values = columns.setdefault(f"{part}/{key}", ([], []))
            all_places += places
            all_values += values
    cells = {name: _dictionary(len(stamps), *column) for name, column in columns.items()}
    of_files = [list(stamps), list(stamps.values()), lengths]
    frame = pd.DataFrame(rows, columns=list(types)).fillna({name: "none" for name in types if types[name] == "str"})
    return Records(
        pa.table([*map(pa.array, of_files, _KEYS.types), *cells.values()], [*_KEYS.names, *cells]),
        _row_table(frame.astype(types)),
    )


def _dictionary(length: int, places: list[int], values: list[Any]) -> pa.DictionaryArray:
    """A column of ``length`` cells, with these values as JSON text at these places and null elsewhere."""
    alike = set(map(type, values)) in ({str}, {int}, {bool})
    exact = values if alike else list(map(repr, values))  # 1, 1.0 and True are equal to Python but are different values
    distinct = dict(zip(exact, values, strict=True))
    number = dict(zip(distinct, range(len(distinct)), strict=True))
    codes = np.full(length, -1, dtype="int32")
    codes[places] = [number[one] for one in exact]
    texts = pa.array(map(json.dumps, distinct.values()), pa.large_string())
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), texts)


def _used(codes: np.ndarray, values: list[Any]) -> Coded:
    """The column without values that no record has."""
    used = np.flatnonzero(np.bincount(codes + 1, minlength=len(values) + 1)[1:])
    place = np.full(len(values) + 1, -1)  # new index of each value; the last, which code -1 reads, stays -1
    place[used] = np.arange(len(used))
    return Coded(place[codes], [values[number] for number in used])


def _row_table(frame: pd.DataFrame) -> pa.Table:
    columns = {name: pa.array(frame[name]) for name in frame}
    return pa.table({name: c.dictionary_encode() if pa.types.is_large_string(c.type) else c
                     for name, c in columns.items()})  # fmt: skip


def _joined(a: Records, b: Records) -> Records:
    """The files of a, then those of b."""
    if not len(a.cells):
        return b
    cells = pa.concat_tables([a.cells, b.cells], promote_options="default")
    rows = pa.concat_tables([a.rows, b.rows])
    return Records(cells.unify_dictionaries().combine_chunks(), rows.unify_dictionaries().combine_chunks())


def _stamp(path: Path) -> str:
    stat = os.stat(path)
    return f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _write_cache(folder: Path, types: Mapping[str, str], records: Records) -> None:
    """Write the cache, preceded by its hash; leave it out if the folder is read-only or the disk is full."""
    sink = pa.BufferOutputStream()
    for table in (records.cells, records.rows):
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    content = sink.getvalue().to_pybytes()
    with contextlib.suppress(OSError):
        replace(folder / CACHE, _hash(types, content) + content)


def _cached(folder: Path, types: Mapping[str, str]) -> Records:
    """The records in the cache; none if there is no cache, or one that is damaged or of another format."""
    try:
        content = (folder / CACHE).read_bytes()
    except OSError:
        content = b""
    if len(content) <= 32 or content[:32] != _hash(types, content[32:]):
        empty = pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in types.items()})
        return Records(_KEYS.empty_table(), _row_table(empty))
    source = pa.BufferReader(pa.py_buffer(content)[32:])
    cells, rows = (pa.ipc.open_stream(source).read_all() for _ in range(2))
    return Records(cells, rows)


def _hash(types: Mapping[str, str], content: bytes) -> bytes:
    return hashlib.sha256(FORMAT + json.dumps([*types.items()]).encode() + content).digest()
