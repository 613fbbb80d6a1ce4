"""Texts as token ids on disk: cut or packed into sequences, written batch by batch, memory-mapped when read.

Arrow files with one row per sequence: ``ids`` (int32), ``text`` (the index of its first text) and, if packed,
``starts`` and ``texts``: the offset at which each of its texts begins, and the index of that text.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from adapt.data.tokens.pieces import Pieces, SequenceFormat, pieces_of
from adapt.data.tokens.unknown import Known
from adapt.data.tokens.words import WORD_START

KEY_NAME = "data.tokens.tokens"
VERSION = 1

Ids = NDArray[np.int32]
_CUT = pyarrow.schema([("ids", pyarrow.list_(pyarrow.int32())), ("text", pyarrow.int32())])
_PACKED = _CUT.append(pyarrow.field("starts", pyarrow.list_(pyarrow.int32()))).append(
    pyarrow.field("texts", pyarrow.list_(pyarrow.int32()))
)


class Ragged:
    """A list column of a memory-mapped file, as numpy arrays that are not copied."""

    def __init__(self, column: pyarrow.ChunkedArray) -> None:
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        self.parts = [(chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in chunks]
        sizes = [np.diff(offsets) for offsets, _ in self.parts]
        self.lengths: Ids = np.concatenate(sizes) if sizes else np.zeros(0, np.int32)
        self._firsts = np.cumsum([0, *map(len, sizes)]).tolist()

    def __getitem__(self, row: int) -> Ids:
        part = bisect_right(self._firsts, row) - 1
        offsets, values = self.parts[part]
        at = row - self._firsts[part]
        return values[offsets[at] : offsets[at + 1]]


class Sequences:
    """The sequences of one file, memory-mapped; ``bytes_on_disk``: the size of the file.

    lengths: [N] tokens of each, special tokens included. documents: [N] index of the (first) text of each.
    """

    def __init__(self, file: Path) -> None:
        self.bytes_on_disk = file.stat().st_size
        table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all()
        self._ids = Ragged(table.column("ids"))
        self.lengths = self._ids.lengths
        self.documents: Ids = table.column("text").to_numpy()
        self.packed = "starts" in table.column_names
        self.words = len(self) > 0 and bool((self._ids[0] >= WORD_START).any())  # a text begins with a word
        if self.packed:
            self._starts, self._texts = Ragged(table.column("starts")), Ragged(table.column("texts"))

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, index: int) -> Ids:
        """The token ids of a sequence, special tokens included."""
        return self._ids[index] % WORD_START if self.words else self._ids[index]

    def word_starts(self, index: int) -> NDArray[np.bool_]:
        """Whether each token of a sequence begins a word; only if ``words`` are marked. Special tokens never do."""
        return self._ids[index] >= WORD_START

    def starts(self, index: int) -> Ids:
        """The offset in a packed sequence at which each of its texts begins; the first is 0."""
        return self._starts[index] if self.packed else np.zeros(1, np.int32)

    def texts(self, index: int) -> Ids:
        """The indices of the texts that a sequence holds, in order."""
        return self._texts[index] if self.packed else self.documents[index : index + 1]

    @property
    def document_count(self) -> int:
        """How many texts the sequences hold, in whole or in part."""
        if not self.packed:
            return len(np.unique(self.documents))
        held = [np.unique(values) for _, values in self._texts.parts]
        return len(np.unique(np.concatenate(held))) if held else 0


@dataclass(frozen=True)
class Tokens:
    """A corpus as token ids; ``vocabulary``: the digest of the vocabulary that the ids belong to."""

    train: Sequences
    heldout: Sequences
    vocabulary: str


def write_tokens(file: Path, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], form: SequenceFormat) -> Known:
    """Write the texts as sequences: each text on its own, or several in one sequence if ``form.packed``.

    A text longer than a sequence is cut into several, and no tail is lost. A text without a token gives no sequence.
    Memory holds one batch of texts, however many texts there are. Returns what the tokenizer knows of them.
    """
    counts: list[Known] = []
    with pyarrow.ipc.new_stream(str(file), _PACKED if form.packed else _CUT) as stream:
        waiting = Pieces.none()
        for pieces in pieces_of(tokenizer, texts, form, counts):
            if not form.packed:
                stream.write_batch(_cut_batch(pieces))
                continue
            pieces = waiting.and_then(pieces)
            firsts = first_pieces(pieces.lengths, form.max_length)
            full, waiting = pieces.split(int(firsts[-1]) if len(firsts) else 0)  # the last sequence may still get more
            if len(full.lengths):
                stream.write_batch(_packed_batch(full, firsts[:-1]))
        if len(waiting.lengths):
            stream.write_batch(_packed_batch(waiting, np.zeros(1, np.int64)))
    return sum(counts, Known())


def first_pieces(lengths: NDArray[np.int64], max_length: int) -> NDArray[np.int64]:
    """The first piece of each packed sequence: a piece that no longer fits begins the next sequence."""
    firsts, used = [], max_length
    for piece, length in enumerate(lengths.tolist()):
        used += length
        if used > max_length:
            firsts.append(piece)
            used = length
    return np.array(firsts, dtype=np.int64)


def write_folder(
    folder: Path, tokenizer: PreTrainedTokenizerBase, parts: dict[str, Sequence[str]], form: SequenceFormat
) -> dict[str, Known]:
    """Write train.arrow, heldout.arrow, and tokens.json with the digest of the vocabulary that the ids belong to.

    Held-out texts are never packed, so that the losses of models trained with and without packing are comparable.
    Returns what the tokenizer knows of each part.
    """
    known = {}
    for name, texts in parts.items():
        own = replace(form, packed=form.packed and name == "train")
        known[name] = write_tokens(folder / f"{name}.arrow", tokenizer, texts, own)
    (folder / "tokens.json").write_text(json.dumps({"vocabulary": vocabulary_digest(tokenizer)}) + "\n")
    return known


def load_tokens(folder: Path) -> Tokens:
    """Load the tokens that write_folder wrote, memory-mapped."""
    note = json.loads((folder / "tokens.json").read_text())
    return Tokens(Sequences(folder / "train.arrow"), Sequences(folder / "heldout.arrow"), note["vocabulary"])


def vocabulary_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of the vocabulary: its tokens and their ids."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def _cut_batch(pieces: Pieces) -> pyarrow.RecordBatch:
    offsets = np.concatenate([[0], np.cumsum(pieces.lengths)])
    return pyarrow.record_batch([_lists(offsets, pieces.ids), _int32(pieces.texts)], _CUT)


def _packed_batch(pieces: Pieces, firsts: NDArray[np.int64]) -> pyarrow.RecordBatch:
    """firsts: the index of the first piece of each sequence; the first of them is 0."""
    begins = np.cumsum(pieces.lengths) - pieces.lengths  # of each piece, within all ids
    bounds = np.append(firsts, len(begins))
    starts = begins - np.repeat(begins[firsts], np.diff(bounds))
    return pyarrow.record_batch(
        [
            _lists(np.append(begins[firsts], len(pieces.ids)), pieces.ids),
            _int32(pieces.texts[firsts]),
            _lists(bounds, starts),
            _lists(bounds, pieces.texts),
        ],
        _PACKED,
    )


def _lists(offsets: NDArray[np.int64], values: NDArray[Any]) -> pyarrow.ListArray:
    return pyarrow.ListArray.from_arrays(_int32(offsets), _int32(values))


def _int32(values: NDArray[Any]) -> pyarrow.Array:
    return pyarrow.array(values.astype(np.int32, copy=False))
