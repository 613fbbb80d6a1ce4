"""Reads rows of text files (also as .gz), .parquet and .arrow files; errors name the file and line."""

from __future__ import annotations

import glob
import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow

from adapt.config import ConfigError
from adapt.data.formats import delimited
from adapt.data.formats.columnar import arrow_rows, parquet_rows
from adapt.data.visible import is_blank

KEY_NAME = "data.files"
VERSION = 2

READABLE = "readable are .jsonl, .csv and .txt, each also as .gz, and .parquet; likewise .json, .tsv, and .arrow"
DESCRIPTIONS = ("dataset_dict.json", "dataset_info.json", "state.json")
Row = tuple[str, dict[str, Any]]  # where the row is ("file:line"), and its columns


def read_rows(file: Path, delimiter: str | None = None, quotes: bool | None = None) -> Iterator[Row]:
    """The rows of a file, in the format that its suffix names; a .txt has one document per line, in column ``text``.

    delimiter, quotes: of .csv and .tsv files, see TaskConfig. Raises ConfigError that names file and line for broken
    JSON, rows of the wrong length, bytes that are not UTF-8, and a column or key of one name that is there twice, and
    that names the file for broken archives.
    """
    kind = format_of(file)
    if kind is None:
        raise ConfigError(f"{file}: unknown kind of file; {READABLE}")
    try:
        if kind in ("csv", "tsv"):
            yield from delimited.rows(file, lines(file), delimiter, quotes)
        else:
            yield from _READERS[kind](file)
    except (pyarrow.ArrowInvalid, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(f"{file}: broken or not {''.join(file.suffixes[-2:])} ({error})") from error


def format_of(file: Path) -> str | None:
    """jsonl, json, csv, tsv, parquet, arrow or txt; None for any other kind of file."""
    name = file.name.removesuffix(".gz")
    kind = name.rpartition(".")[2]
    packed = name != file.name
    return kind if kind in (*_READERS, "csv", "tsv") and not (kind in ("parquet", "arrow") and packed) else None


def find_files(key: str, path: str) -> list[Path]:
    """The readable files that a file, folder or glob names, sorted; ``key`` is the setting that the error names.

    In a folder .json, .tsv and .arrow files are read only if there are no others: beside texts they are often settings
    or indices. DESCRIPTIONS are what ``save_to_disk`` writes beside its .arrow files.
    """
    place = Path(path)
    if place.is_file():
        return [place]
    candidates = place.rglob("*") if place.is_dir() else map(Path, glob.glob(path, recursive=True))
    files = sorted(file for file in candidates if file.is_file() and format_of(file))
    if place.is_dir():
        first = [file for file in files if format_of(file) in ("jsonl", "csv", "parquet", "txt")]
        files = first or [file for file in files if file.name not in DESCRIPTIONS]
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
        one = next(iter(columns)) if len(columns) == 1 else ""
        hint = "; is it several columns? task.delimiter=semicolon, tab, bar or comma" * bool(re.search(r"[;\t|,]", one))
        raise ConfigError(f"{where}: no column {name!r} ({key}={name}); it has {', '.join(map(repr, columns))}{hint}")
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
    """The value of a line of JSON.

    Raises ConfigError, whose message begins with ``where``, if it cannot be parsed or an object has a key twice.
    """
    line = line.rstrip()
    value, end = json_of_text(where, line, _SPACE.match(line).end())  # type: ignore[union-attr]
    if line[end:]:
        raise ConfigError(f"{where}: not JSON: Extra data at column {end + 1}")
    return value


def json_of_text(where: str, text: str, position: int) -> tuple[Any, int]:
    """The JSON value at a position of a text, and where it ends. Raises ConfigError, see json_of_line."""
    try:
        return _DECODER.raw_decode(text, position)
    except _TwiceInObjectError as error:
        raise ConfigError(f"{where}: the key {str(error)!r} is there twice in one object; remove one") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: its JSON is nested too deep to be read") from error
    except ValueError as error:  # Python limits the digits of an integer, because parsing time is quadratic in them
        digits = sys.get_int_max_str_digits()
        raise ConfigError(f"{where}: holds an integer of more than {digits} digits; write it as a string") from error


class _TwiceInObjectError(Exception):
    """A key that an object has twice; json would take the last without a word."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceInObjectError(next(key for key in keys if keys.count(key) > 1))
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_SPACE = re.compile(r"[ \t\n\r]*")


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


def _json(file: Path) -> Iterator[Row]:
    """The objects of a JSON array, or one object per line, as many files called .json have it."""
    text = "".join(lines(file))
    if text.lstrip()[:1] != "[":
        first = text.lstrip().partition("\n")[0].rstrip()
        if first and not first.endswith("}"):
            raise ConfigError(f"{file}: neither a JSON array of objects nor one object per line")
        yield from _jsonl(file)
        return
    position = text.index("[") + 1
    while True:
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]  # matches nothing too
        line = text.count("\n", 0, position) + 1
        where = f"{file}:{line}"
        if text[position : position + 1] == "]":
            break
        value, position = json_of_text(where, text, position)
        if not isinstance(value, dict):
            raise ConfigError(f'{where}: {str(value)[:40]}: each element must be an object, {{"text": "...", ...}}')
        yield where, value
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        mark = text[position : position + 1]
        position += mark == ","
        if mark not in (",", "]"):
            raise ConfigError(f"{file}:{text.count(chr(10), 0, position) + 1}: not JSON: a comma or ] is missing")
    if text[position + 1 :].strip():
        raise ConfigError(f"{where}: not JSON: more text follows the array")


def _txt(file: Path) -> Iterator[Row]:
    for number, line in enumerate(lines(file), start=1):
        if line.strip():
            yield f"{file}:{number}", {"text": line.strip()}


_READERS: dict[str, Callable[[Path], Iterable[Row]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "parquet": parquet_rows,
    "arrow": arrow_rows,
    "txt": _txt,
}
