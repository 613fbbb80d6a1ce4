"""Requests for a server: JSON objects that name an adapter and hold a text; says what is wrong with others."""

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
    """A valid request; place: its number in the batch."""

    place: int
    adapter: str
    text: str
    text_pair: str | None


def check_request(place: int, where: str, given: Any) -> Request:
    """The request; raises ConfigError, beginning with ``where``, if ``given`` is not a valid one."""
    if not isinstance(given, Mapping):
        raise ConfigError(f'{where}: {str(given)[:40]}: a request is a JSON object, {{"adapter": ..., "text": ...}}')
    if not isinstance(given.get("adapter"), str):
        raise ConfigError(f"{where}: adapter={given.get('adapter')!r}: must be the name of the adapter that answers")
    row = (where, dict(given))
    text = files.readable_text(row, "text", "the text that is answered")
    pair = None
    if given.get("text_pair") is not None:
        pair = files.readable_text(row, "text_pair", "the second text")
    return Request(place, given["adapter"], text, pair)


def read_requests(path: Path, at_once: int) -> Iterator[list[Line]]:
    """The lines that are not blank, at most ``at_once`` together: each as ``file:line`` and its JSON or a ConfigError.

    ``-`` is the standard input, whose lines are given as soon as they arrive. Raises ConfigError for a missing file,
    before anything is read.
    """
    if str(path) == "-":
        return as_they_come(read_lines(path, sys.stdin.buffer), at_once)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; {files.nearby(path)}")
    return of_file(path, at_once)


def of_file(path: Path, at_once: int) -> Iterator[list[Line]]:
    """The lines of a file, at most ``at_once`` together."""
    with path.open("rb") as stream:
        lines = read_lines(path, stream)
        while batch := list(islice(lines, at_once)):
            yield batch


def as_they_come(lines: Iterator[Line], at_once: int) -> Iterator[list[Line]]:
    """The lines that have arrived, at least one: a pipe's writer may wait for an answer before its next request."""
    waiting: Queue[Line | None] = Queue(at_once)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
        finally:
            waiting.put(None)

    Thread(target=read, daemon=True).start()
    while (line := waiting.get()) is not None:
        batch = [line]
        while len(batch) < at_once and not waiting.empty():
            if (line := waiting.get()) is None:
                yield batch
                return
            batch.append(line)
        yield batch


def read_lines(path: Path, stream: Iterable[bytes]) -> Iterator[Line]:
    """Each line that is not blank."""
    for number, line in enumerate(stream, start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, parsed(where, line)


def parsed(where: str, line: bytes) -> Any:
    """The line's JSON, or a ConfigError that says why it cannot be read."""
    try:
        given = files.json_of_line(where, line.decode("utf-8-sig"))
        if isinstance(given, dict):
            files.check_written_back((where, given))
        return given
    except UnicodeDecodeError as error:
        return ConfigError(f"{where}: not UTF-8 at byte {error.start} of the line; save the file as UTF-8")
    except ConfigError as error:
        return error
