"""The rows that predict and generate read, and the portions in which they write their answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from adapt.config import ConfigError
from adapt.data import files


def portions(rows: int, size: int, out: TextIO) -> Iterator[slice]:
    """Slices of ``size`` rows. ``out`` is flushed after each, so that a killed process leaves what it has written.

    A progress bar on stderr counts the rows, unless the answers themselves go to a terminal.
    """
    with tqdm(total=rows, unit=" rows", delay=2, leave=False, disable=out.isatty() or None) as bar:
        for start in range(0, rows, size):
            yield slice(start, min(start + size, rows))
            out.flush()
            bar.update(min(size, rows - start))


def read_texts(texts: Path) -> list[files.Row]:
    """The rows of a file of prompts, which may be empty texts: a decoder can begin from nothing.

    Raises ConfigError for a missing file, a broken line, and a row that has no text or cannot be written again beside
    its answer.
    """
    rows = read_rows(texts)
    for row in rows:
        files.text_column(row, "text", "the column that generate reads")
        files.check_written_back(row)
    return rows


def read_rows(texts: Path) -> list[files.Row]:
    """The rows of a file, at least one; raises ConfigError for a missing or empty file or a broken line."""
    if not texts.is_file():
        raise ConfigError(f"{texts}: no such file; {files.nearby(texts)}")
    rows = list(files.read_rows(texts))
    if not rows:
        raise ConfigError(f"{texts}: no texts")
    return rows
