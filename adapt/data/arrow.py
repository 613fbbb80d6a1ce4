"""Texts on disk, memory-mapped when read: Arrow files whose bytes are a function of the texts and their order alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, overload

import numpy as np
import pyarrow
from numpy.typing import NDArray

KEY_NAME = "data.arrow"
VERSION = 1

BATCH_TEXTS, BATCH_CHARACTERS = 1000, 4_000_000  # what is in memory at a time, and one batch of the file
_SCHEMA = pyarrow.schema([("text", pyarrow.large_string())])  # 64-bit offsets: a batch may hold one enormous text


class TextWriter:
    """Writes texts in the order given, as an Arrow stream with the column ``text``; a context manager."""

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
        self.counts["words"] += len(text.split())
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
    """The texts of an Arrow file, read when they are asked for; equal to any sequence of the same texts.

    rows: which of them, in which order; None is all in the file's order. scratch: a folder that is removed with this
    object.
    """

    def __init__(self, file: Path, rows: NDArray[np.int64] | None = None, scratch: TemporaryDirectory | None = None):
        from datasets import Dataset  # costs a second, and most commands only look at a corpus's first row

        self._file = file
        self._column = Dataset.from_file(str(file)).data.column("text")
        self._rows = rows
        self._scratch = scratch

    def of_rows(self, rows: NDArray[np.int64]) -> Texts:
        """Some of the texts of a whole file, in this order."""
        assert self._rows is None
        found = object.__new__(Texts)
        found._file, found._column, found._rows, found._scratch = self._file, self._column, rows, self._scratch
        return found

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        inside = range(len(self))[index]  # raises IndexError, and counts a negative index from the end
        return self._column[inside if self._rows is None else int(self._rows[inside])].as_py()

    def __iter__(self) -> Iterator[str]:
        if self._rows is not None:
            yield from (self._column[row].as_py() for row in self._rows.tolist())
            return
        with pyarrow.OSFile(str(self._file)) as file, pyarrow.ipc.open_stream(file) as batches:
            for batch in batches:  # read, not mapped: mapped pages would pile up in the process's memory
                yield from batch.column(0).to_pylist()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list's

    def __repr__(self) -> str:
        return f"<{len(self)} texts>"


def write_texts(file: Path, texts: Iterable[str]) -> dict[str, int]:
    """Write an Arrow file of texts; returns its counts of documents, words and characters."""
    with TextWriter(file) as writer:
        for text in texts:
            writer.add(text)
    return writer.counts
