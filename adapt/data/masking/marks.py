"""Marks of the tokens that matter to a task, in a file beside the token ids, and masking of marked tokens only.

The Arrow file has one row for each sequence of the text's train.arrow: ``marked`` (uint8), 1 or 0 for each token.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow
from numpy.typing import NDArray

from adapt.data.masking.tokens import Candidates, Chosen
from adapt.data.tokens.tokens import Ragged

KEY_NAME = "data.masking.marks"
VERSION = 1
FILE = "marks.arrow"
_SCHEMA = pyarrow.schema([("marked", pyarrow.list_(pyarrow.uint8()))])


def marked(log_odds: NDArray[np.float32], cut: float) -> NDArray[np.bool_]:
    """Whether each token of a sequence has log-odds above ``cut``; if none has, the token with the highest, [n].

    log_odds: [n], log P(important) - log P(unimportant); minus infinity for special tokens, which cannot be masked.
    A sequence without an important token thus has one token to predict, and carries no more weight than that.
    """
    marks = log_odds > cut
    if not marks.any() and np.isfinite(log_odds).any():
        marks[np.argmax(log_odds)] = True
    return marks


def write_marks(file: Path, batches: Iterable[list[NDArray[np.bool_]]]) -> None:
    """Write the marks [n] of all sequences in order, one batch of sequences at a time."""
    with pyarrow.ipc.new_stream(str(file), _SCHEMA) as stream:
        for rows in batches:
            offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
            values = pyarrow.array(np.concatenate(rows).astype(np.uint8))
            column = pyarrow.ListArray.from_arrays(pyarrow.array(offsets), values)
            stream.write_batch(pyarrow.record_batch([column], _SCHEMA))


class Marks:
    """The marks of one or more files, memory-mapped; sequences are numbered across the files, as in a Mixture."""

    def __init__(self, files: Sequence[Path]) -> None:
        tables = [pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all() for file in files]
        self._parts = [Ragged(table.column("marked")) for table in tables]
        self._firsts = np.cumsum([0, *(len(part.lengths) for part in self._parts)]).tolist()

    def __len__(self) -> int:
        return self._firsts[-1]

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        """Whether each token of the sequence, special tokens included, is marked, [n]."""
        part = bisect_right(self._firsts, index) - 1
        return self._parts[part][index - self._firsts[part]].astype(bool)


def marked_tokens(random: np.random.Generator, candidates: Candidates, count: int, *, marks: Marks) -> Chosen:
    """At most ``count`` of the marked tokens, at random; 80/10/10 is drawn for each token (Gu et al., 2020).

    A sequence with fewer marks than ``count`` has fewer tokens to predict than under other strategies.
    """
    possible = np.flatnonzero(marks[candidates.example][candidates.columns])
    assert len(possible), "a sequence has tokens to mask but no mark: the marks are of another text"
    chosen = np.sort(random.permutation(possible)[:count])
    return chosen, np.arange(len(chosen))
