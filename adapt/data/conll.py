"""Sentences from CoNLL files: one token per line, columns separated by white space, blank lines between sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapt.config import ConfigError
from adapt.data.files import lines

KEY_NAME = "data.conll"
VERSION = 1

DOCUMENT_START = "-DOCSTART-"


def read_conll(file: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """(file:line of its first token, tokens, tags) of each sentence of a ``.conll`` or ``.conll.gz`` file.

    The token is the first column of its line, the tag the last. DOCUMENT_START lines are skipped. Columns are separated
    by tabs if the file's first token line has one (a token may then contain spaces), else by white space.
    Raises ConfigError with file and line for a line with one column, or with more or fewer columns than the first.
    """
    tokens: list[str] = []
    tags: list[str] = []
    where, width, separator = "", 0, None
    for number, line in enumerate(lines(file), start=1):
        content = line.strip()
        if content and not content.startswith(DOCUMENT_START):
            if not width:
                separator = "\t" if "\t" in content else None
            columns = content.split(separator)
            width = width or len(columns)
            _check(f"{file}:{number}", columns, width)
            where = where if tokens else f"{file}:{number}"
            tokens.append(columns[0])
            tags.append(columns[-1])
        elif tokens:
            yield where, tokens, tags
            tokens, tags = [], []
    if tokens:
        yield where, tokens, tags


def _check(where: str, columns: list[str], width: int) -> None:
    if len(columns) < 2:
        raise ConfigError(
            f"{where}: {columns[0][:40]!r} has no tag; each line needs a token and, as its last column, a tag"
        )
    if len(columns) != width:
        raise ConfigError(f"{where}: {len(columns)} columns, but the first token of the file has {width}")
