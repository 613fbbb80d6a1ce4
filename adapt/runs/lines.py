"""Lines in, lines out: the rows that predict and generate read, and the portions in which they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from adapt.config import ConfigError
from adapt.data import files
from adapt.data.kinds.classification import read_unlabelled


def portions(rows: int, size: int, out: TextIO) -> Iterator[slice]:
    """Where each ``size`` of some rows are; after each ``out`` is flushed, so that a kill keeps what was written.

    A bar on the error stream, unless the answers run over its terminal, tells how many rows are done.
    """
    with tqdm(total=rows, unit=" rows", delay=2, leave=False, disable=out.isatty() or None) as bar:
        for start in range(0, rows, size):
            yield slice(start, min(start + size, rows))
            out.flush()
            bar.update(min(size, rows - start))


def read_texts(texts: Path) -> list[files.Row]:
    """The rows of a file of texts; raises ConfigError for a missing file, a broken line, or a row without a text.

    And for a row that could not be written again beside its answer.
    """
    rows = read_rows(texts)
    for row in rows:
        read_unlabelled(row)
    return rows


def read_rows(texts: Path) -> list[files.Row]:
    """The rows of a file, one or more; raises ConfigError for a missing or empty file or a broken line."""
    if not texts.is_file():
        raise ConfigError(f"{texts}: no such file; {files.nearby(texts)}")
    rows = list(files.read_rows(texts))
    if not rows:
        raise ConfigError(f"{texts}: no texts")
    return rows
