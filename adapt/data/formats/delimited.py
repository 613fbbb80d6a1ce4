"""Rows of .csv and .tsv files: a header, then one row of as many values per line, or over lines within quotes."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from adapt.config import ConfigError

KEY_NAME = "data.delimited"
VERSION = 1

CHARACTERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}


def rows(
    file: Path, lines: Iterable[str], delimiter: str | None, quotes: bool | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, columns) of each row of a file's lines. delimiter, quotes: see TaskConfig.

    Raises ConfigError with file and line for two columns of one name, a row of another length, and broken quotes.
    """
    tabs = file.name.removesuffix(".gz").endswith(".tsv")
    mark = CHARACTERS[delimiter or ("tab" if tabs else "comma")]
    csv.field_size_limit(sys.maxsize)  # of the process: the default is 131,072 characters, and a document may be longer
    plain = quotes is False
    reader = csv.reader(lines, delimiter=mark, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL, strict=True)
    try:
        header = next(reader, [])
        check_header(file, header)
        before = reader.line_num
        for values in reader:
            where = f"{file}:{reader.line_num}"
            if tabs and quotes is None and reader.line_num > before + 1:
                raise ConfigError(
                    f"{file}:{before + 1}: a field in quotation marks goes over lines, to line {reader.line_num}; "
                    "task.quotes=true reads it so, task.quotes=false takes quotation marks as they are"
                )
            before = reader.line_num
            if len(values) not in (0, len(header)):
                raise ConfigError(f"{where}: {len(values)} values, but the header names {len(header)} columns")
            if values:
                yield where, dict(zip(header, values, strict=True))
    except csv.Error as error:
        hint = "" if plain else "; task.quotes=false takes quotation marks as they are"
        raise ConfigError(f"{file}:{reader.line_num}: cannot be read as CSV: {error}{hint}") from error


def check_header(file: Path, header: list[str]) -> None:
    """Refuse two columns of one name; columns without a name, which nothing can ask for, may be several."""
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        places = [str(place) for place, name in enumerate(header, start=1) if name == twice[0]]
        raise ConfigError(f"{file}:1: columns {' and '.join(places)} are both called {twice[0]!r}; rename one")
