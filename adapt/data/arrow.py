"""Texts on disk in Arrow files, memory-mapped when read. The bytes depend only on the texts and their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, overload

import numpy as np
import pyarrow
from numpy.typing import NDArray

from adapt.data import characters

KEY_NAME = "data.arrow"
VERSION = 2

BATCH_TEXTS, BATCH_CHARACTERS = 1000, 4_000_000  # the size of a batch of the file, and of what waits in memory
_SCHEMA = pyarrow.schema([("text", pyarrow.large_string())])  # 64-bit offsets: a batch may hold one enormous text


class TextWriter:
    """Context manager that writes texts, in the order given, to an Arrow stream with one column, ``text``."""

    def __init__(self, file: Path) -> None:
        self._stream = pyarrow.ipc.new_stream(str(file), _SCHEMA)
        self._waiting: list[str] = []
        self._characters = 0
        self.counts = {"documents": 0, "words": 0, "characters": 0}

    def add(self, text: str) -> None:
        """Write one text."""
        self._waiting.append(text)
        self._characters += len(text)
        self.counts["documents"] += 1
        self.counts["words"] += characters.length(text)
        self.counts["characters"] += len(text)
        if len(self._waiting) >= BATCH_TEXTS or self._characters >= BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._stream.write_batch(pyarrow.record_batch([pyarrow.array(self._waiting, _SCHEMA[0].type)], _SCHEMA))
        self._waiting, self._characters = [], 0

    def __enter__(self) -> TextWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self._flush()
        self._stream.close()


class Texts(Sequence[str]):
    """The texts of an Arrow file, each read on access; equal to any sequence of the same texts.

    rows: which texts, in which order; None is all of them in the file's order. scratch: a temporary folder that is
    removed together with this object.
    """

    def __init__(self, file: Path, rows: NDArray[np.int64] | None = None, scratch: TemporaryDirectory | None = None):
        from datasets import Dataset  # takes a second to import, and most commands only look at a corpus's first row

        self._file = file
        self._column = Dataset.from_file(str(file)).data.column("text")
        self._rows = rows
        self._scratch = scratch

    def of_rows(self, rows: NDArray[np.int64]) -> Texts:
        """The texts at these rows of the file, in this order; this object must hold the whole file."""
        assert self._rows is None
        picked = object.__new__(Texts)
        picked._file, picked._column, picked._rows, picked._scratch = self._file, self._column, rows, self._scratch
        return picked

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]  # raises IndexError, and counts a negative index from the end
        return self._column[position if self._rows is None else int(self._rows[position])].as_py()

    def __iter__(self) -> Iterator[str]:
        if self._rows is not None:
            yield from (self._column[row].as_py() for row in self._rows.tolist())
            return
        with pyarrow.OSFile(str(self._file)) as file, pyarrow.ipc.open_stream(file) as batches:
            for batch in batches:  # read, not mapped: mapped pages would accumulate in the process's memory
                yield from batch.column(0).to_pylist()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # unhashable, like a list

    def __repr__(self) -> str:
        return f"<{len(self)} texts>"


def write_texts(file: Path, texts: Iterable[str]) -> dict[str, int]:
    """Write texts to an Arrow file; returns the numbers of documents, words and characters."""
    with TextWriter(file) as writer:
        for text in texts:
            writer.add(text)
    return writer.counts
