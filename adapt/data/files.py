"""Reads rows of .jsonl, .csv, .parquet and .txt files (text formats also as .gz); errors name the file and line."""

from __future__ import annotations

import csv
import glob
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from adapt.config import ConfigError
from adapt.data.visible import is_blank

KEY_NAME = "data.files"
VERSION = 2

READABLE = "readable are .jsonl, .csv and .txt, each also as .gz, and .parquet"
Row = tuple[str, dict[str, Any]]  # where the row is ("file:line"), and its columns


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a file, in the format that its suffix names; a .txt has one document per line, in column ``text``.

    Raises ConfigError that names file and line for broken JSON, CSV rows of the wrong length and bytes that are not
    UTF-8, and that names the file for broken archives.
    """
    kind = format_of(file)
    if kind is None:
        raise ConfigError(f"{file}: unknown kind of file; {READABLE}")
    try:
        yield from _READERS[kind](file)
    except (pyarrow.ArrowInvalid, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(f"{file}: broken or not {''.join(file.suffixes[-2:])} ({error})") from error


def format_of(file: Path) -> str | None:
    """jsonl, csv, parquet or txt; None for any other kind of file."""
    name = file.name.removesuffix(".gz")
    kind = name.rpartition(".")[2]
    return kind if kind in _READERS and not (kind == "parquet" and name != file.name) else None


def find_files(key: str, path: str) -> list[Path]:
    """The readable files that a file, folder or glob names, sorted; ``key`` is the setting that the error names."""
    place = Path(path)
    if place.is_file():
        return [place]
    candidates = place.rglob("*") if place.is_dir() else map(Path, glob.glob(path, recursive=True))
    files = sorted(file for file in candidates if file.is_file() and format_of(file))
    if not files:
        what = "no readable file in this folder" if place.is_dir() else f"no such file or folder; {nearby(place)}"
        raise ConfigError(f"{key}={path}: {what}; {READABLE}")
    return files


def nearby(missing: Path) -> str:
    """For the error about a missing file: the names in its folder, or that the folder does not exist either."""
    folder = missing.parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    names = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"{folder} holds {shown or 'nothing'}"


def column(row: Row, name: str, key: str) -> Any:
    """The value of a column of a row. Raises ConfigError that names the row and ``key`` when the column is missing."""
    where, columns = row
    if name not in columns:
        raise ConfigError(f"{where}: no column {name!r} ({key}={name}); it has {', '.join(map(repr, columns))}")
    return columns[name]


def text_column(row: Row, name: str, key: str) -> str:
    """The text in a column of a row. Raises ConfigError unless it is a string that can be encoded as UTF-8."""
    value = column(row, name, key)
    if not isinstance(value, str):
        raise ConfigError(f"{row[0]}: column {name!r} ({key}={name}) holds {value!r}; it must be a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half a surrogate pair: "\\ud83d"
        half = f"half a character, {value[error.start]!r}, at position {error.start}"
        raise ConfigError(f"{row[0]}: column {name!r} ({key}={name}) holds {half}; remove or repair it") from error
    return value


def readable_text(row: Row, name: str, key: str) -> str:
    """The text in a column of a row, which is to be labelled or answered.

    Raises ConfigError, with the row, as ``text_column`` does, and for a text without a visible character.
    """
    text = text_column(row, name, key)
    if is_blank(text):
        raise ConfigError(
            f"{row[0]}: column {name!r} ({key}={name}) holds {text[:40]!r}, in which nothing can be read; a text needs "
            "a visible character: remove the row, or repair it"
        )
    return text


def lines(file: Path) -> Iterator[str]:
    """The file's lines, decoded, without a byte order mark. Raises ConfigError for bytes that are not UTF-8."""
    position = 0
    with gzip.open(file, "rb") if file.suffix == ".gz" else open(file, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ConfigError(
                    f"{file}:{number}: not UTF-8 at byte {position + error.start} of the file "
                    f"(0x{line[error.start]:02x}); save the file as UTF-8"
                ) from error
            position += len(line)


def json_of_line(where: str, line: str) -> Any:
    """The value of a line of JSON. Raises ConfigError, whose message begins with ``where``, if it cannot be parsed."""
    try:
        return json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: its JSON is nested too deep to be read") from error
    except ValueError as error:  # Python limits the digits of an integer, because parsing time is quadratic in them
        digits = sys.get_int_max_str_digits()
        raise ConfigError(f"{where}: holds an integer of more than {digits} digits; write it as a string") from error


def check_written_back(row: Row) -> None:
    """Refuse a row that cannot be written as a line of UTF-8 JSON, for commands that write rows back with answers.

    Raises ConfigError that names the row for NaN and Infinity, half a surrogate pair, and types that only a .parquet
    holds.
    """
    where, columns = row
    for name, value in columns.items():
        try:
            json.dumps({name: value}, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError as error:
            half = f"half a character, {error.object[error.start]!r}; remove or repair it"
            raise ConfigError(f"{where}: column {name!r} holds {half}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(
                f"{where}: column {name!r} cannot be written back as JSON ({error}); remove it"
            ) from error


def _jsonl(file: Path) -> Iterator[Row]:
    for number, line in enumerate(lines(file), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        columns = json_of_line(where, line)
        if not isinstance(columns, dict):
            raise ConfigError(f'{where}: {line.strip()[:40]}: each line must be a JSON object, {{"text": "...", ...}}')
        yield where, columns


def _csv(file: Path) -> Iterator[Row]:
    reader = csv.reader(lines(file), strict=True)
    try:
        header = next(reader, [])
        for values in reader:
            where = f"{file}:{reader.line_num}"
            if len(values) not in (0, len(header)):
                raise ConfigError(f"{where}: {len(values)} values, but the header names {len(header)} columns")
            if values:
                yield where, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise ConfigError(f"{file}:{reader.line_num}: cannot be read as CSV: {error}") from error


def _parquet(file: Path) -> Iterator[Row]:
    number = 0
    with pyarrow.parquet.ParquetFile(file) as table:
        for batch in table.iter_batches():
            for columns in batch.to_pylist():
                number += 1
                yield f"{file}: row {number}", columns


def _txt(file: Path) -> Iterator[Row]:
    for number, line in enumerate(lines(file), start=1):
        if line.strip():
            yield f"{file}:{number}", {"text": line.strip()}


_READERS: dict[str, Callable[[Path], Iterable[Row]]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet, "txt": _txt}
