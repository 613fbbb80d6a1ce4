"""Requests for a server: a JSON object that names an adapter and holds a text, or why it is none."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from adapt.config import ConfigError
from adapt.data import files

Line = tuple[str, Any]


@dataclass(frozen=True)
class Request:
    """place: the request's number in its batch."""

    place: int
    adapter: str
    text: str
    text_pair: str | None


def check_request(place: int, where: str, given: Any) -> Request:
    """Raises ConfigError, which begins with ``where``, for what is no request."""
    if not isinstance(given, Mapping):
        raise ConfigError(f'{where}: {str(given)[:40]}: a request is a JSON object, {{"adapter": ..., "text": ...}}')
    if not isinstance(given.get("adapter"), str):
        raise ConfigError(f"{where}: adapter={given.get('adapter')!r}: names the adapter that is to answer")
    row = (where, dict(given))
    text = files.text_column(row, "text", "the text that is answered")
    pair = None
    if given.get("text_pair") is not None:
        pair = files.text_column(row, "text_pair", "the second text")
    return Request(place, given["adapter"], text, pair)


def read_requests(path: Path, at_once: int) -> Iterator[list[Line]]:
    """The lines that are not blank, up to so many at once: each with ``file:line`` and its JSON, or why it has none.

    ``-`` is the standard input, of which what has come is given at once. Raises ConfigError for a file that is missing
    before anything is read.
    """
    if str(path) == "-":
        return as_they_come(read_lines(path, sys.stdin.buffer), at_once)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; {files.nearby(path)}")
    return of_file(path, at_once)


def of_file(path: Path, at_once: int) -> Iterator[list[Line]]:
    """The lines of a file, so many at once."""
    with path.open("rb") as stream:
        lines = read_lines(path, stream)
        while found := list(islice(lines, at_once)):
            yield found


def as_they_come(lines: Iterator[Line], at_once: int) -> Iterator[list[Line]]:
    """What is there, one line or more: who writes into a pipe may wait for the answer before the next request."""
    waiting: Queue[Line | None] = Queue(at_once)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
        finally:
            waiting.put(None)

    Thread(target=read, daemon=True).start()
    while (line := waiting.get()) is not None:
        found = [line]
        while len(found) < at_once and not waiting.empty():
            if (line := waiting.get()) is None:
                yield found
                return
            found.append(line)
        yield found


def read_lines(path: Path, stream: Iterable[bytes]) -> Iterator[Line]:
    """Each line that is not blank."""
    for number, line in enumerate(stream, start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, parsed(where, line)


def parsed(where: str, line: bytes) -> Any:
    """The line's JSON, or the ConfigError that says why it has none."""
    try:
        given = files.json_of_line(where, line.decode("utf-8-sig"))
        if isinstance(given, dict):
            files.check_written_back((where, given))
        return given
    except UnicodeDecodeError as error:
        return ConfigError(f"{where}: not UTF-8 at byte {error.start} of the line; save the file as UTF-8")
    except ConfigError as error:
        return error
