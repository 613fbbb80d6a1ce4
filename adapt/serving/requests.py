"""Requests for a server: a JSON object that names an adapter and holds a text, or why it is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.config import ConfigError
from adapt.data import files


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


def read_requests(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line that is not blank, with ``file:line``: its JSON, or the ConfigError that says why it has none.

    ``-`` is the standard input. Raises ConfigError for a file that is missing.
    """
    if str(path) != "-" and not path.is_file():
        raise ConfigError(f"{path}: no such file; {files.nearby(path)}")
    with ExitStack() as stack:
        lines = sys.stdin.buffer if str(path) == "-" else stack.enter_context(path.open("rb"))
        for number, line in enumerate(lines, start=1):
            if line.strip():
                where = f"{path}:{number}"
                yield where, parsed(where, line)


def parsed(where: str, line: bytes) -> Any:
    """The line's JSON, or the ConfigError that says why it has none."""
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return ConfigError(f"{where}: not UTF-8 at byte {error.start} of the line; save the file as UTF-8")
    except json.JSONDecodeError as error:
        return ConfigError(f"{where}: not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return ConfigError(f"{where}: not JSON that can be read: nested too deep")
