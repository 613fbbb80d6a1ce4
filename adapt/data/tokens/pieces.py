"""Cuts texts into pieces of at most a sequence's length, each with its special tokens, in constant memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from adapt.config import ConfigError
from adapt.data.tokens.unknown import Gauge, Known
from adapt.data.tokens.words import WORD_START, word_starts

KEY_NAME = "data.tokens.pieces"
VERSION = 2

T = TypeVar("T")
Ids = NDArray[np.int32]
FlatIds = tuple[Ids, NDArray[np.int64]]  # the ids of several texts one after another, and the length of each text
AHEAD = 2  # batches that threads work on ahead of the reader
BATCH_TEXTS, BATCH_CHARACTERS = 1000, 1_000_000  # tokenised together
PART = 200_000  # characters of a text that the tokenizer sees at once: it needs about 100 bytes for each
_BETWEEN_WORDS = re.compile(r"(?<=\S)\s(?=\S)")


@dataclass(frozen=True)
class SequenceFormat:
    """Tokens per sequence (special tokens included), whether it holds several texts, and whether words are marked."""

    max_length: int
    packed: bool
    words: bool = False


@dataclass(frozen=True)
class Pieces:
    """Consecutive pieces of texts: their ids one after another, the length of each [P], and the text it is of [P]."""

    ids: Ids
    lengths: NDArray[np.int64]
    texts: NDArray[np.int64]

    @classmethod
    def none(cls) -> Pieces:
        """No pieces."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))

    def and_then(self, more: Pieces) -> Pieces:
        """These pieces followed by more."""
        return Pieces(
            np.concatenate([self.ids, more.ids]),
            np.concatenate([self.lengths, more.lengths]),
            np.concatenate([self.texts, more.texts]),
        )

    def split(self, count: int) -> tuple[Pieces, Pieces]:
        """The first ``count`` pieces, and the rest."""
        at = int(self.lengths[:count].sum())
        return (
            Pieces(self.ids[:at], self.lengths[:count], self.texts[:count]),
            Pieces(self.ids[at:], self.lengths[count:], self.texts[count:]),
        )


@dataclass(frozen=True)
class SpecialTokens:
    """The ids that the tokenizer puts before and after a text; ``end``: what ends a text if it puts nothing after."""

    before: Ids
    after: Ids
    end: int | None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
        """Find them by encoding a word. A decoder's text ends with its end-of-text token, so that it learns to end.

        Raises ConfigError for a tokenizer that gives no token for any word of its own vocabulary.
        """
        for text in words_of(tokenizer):
            if word := tokenizer(text, add_special_tokens=False)["input_ids"]:
                break
        else:
            raise ConfigError(f"{tokenizer.name_or_path}: its tokenizer gives no token for any word of its vocabulary")
        whole = tokenizer(text)["input_ids"]
        at = next(start for start in range(len(whole)) if whole[start : start + len(word)] == word)
        before, after = whole[:at], whole[at + len(word) :]
        decoder = tokenizer.mask_token_id is None and not after
        end = tokenizer.eos_token_id if decoder else None
        return cls(np.array(before, np.int32), np.array(after, np.int32), end)


def words_of(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Texts of which one gives a token: "a", then what the vocabulary's tokens say, special ones aside.

    A vocabulary of capital letters without an unknown token has nothing for "a".
    """
    yield "a"
    special = set(tokenizer.all_special_ids)
    yield from (
        str(tokenizer.decode([token])) for token in sorted(tokenizer.get_vocab().values()) if token not in special
    )


def pieces_of(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], form: SequenceFormat, counts: list[Known] | None = None
) -> Iterator[Pieces]:
    """The pieces of all texts in order, one batch of whole texts at a time; a text without a token has no piece.

    counts: gets what the tokenizer knows of each batch (see Gauge). Raises ConfigError if the special tokens leave no
    room.
    """
    special = SpecialTokens.of(tokenizer)
    room = form.max_length - len(special.before) - len(special.after)
    if room < 1:
        raise ConfigError(
            f"max_length={form.max_length}: the tokenizer's special tokens take "
            f"{form.max_length - room} of them and leave no room; give a larger one"
        )
    first = 0
    neither_cut_nor_pad(tokenizer)
    for ids, lengths, known in in_order(partial(counted_ids, tokenizer, Gauge(tokenizer), form.words), batches(texts)):
        if counts is not None:
            counts.append(known)
        if special.end is not None:
            ids = np.insert(ids, np.cumsum(lengths)[lengths > 0], special.end)
            lengths = lengths + (lengths > 0)
        yield cut(ids, lengths, room, special, first)
        first += len(lengths)


def counted_ids(
    tokenizer: PreTrainedTokenizerBase, gauge: Gauge, words: bool, texts: list[str]
) -> tuple[Ids, NDArray[np.int64], Known]:
    """As ``flat_ids``, with what the tokenizer knows of the texts."""
    ids, lengths = flat_ids(tokenizer, texts, words)
    known, _ = gauge.of(texts, ids % WORD_START if words else ids, lengths)
    return ids, lengths, known


def in_order(work: Callable[[list[str]], T], batches: Iterable[list[str]]) -> Iterator[T]:
    """``work(batch)`` for each batch, in order; threads work on up to AHEAD batches ahead.

    A fast tokenizer releases the GIL, so that one batch is encoded while the ids of another are collected.
    """
    with ThreadPoolExecutor(AHEAD) as threads:
        waiting: deque[Future[T]] = deque()
        for batch in batches:
            waiting.append(threads.submit(work, batch))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Consecutive texts in batches; a batch is full at BATCH_TEXTS texts or once it holds BATCH_CHARACTERS."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) == BATCH_TEXTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def neither_cut_nor_pad(tokenizer: PreTrainedTokenizerBase) -> None:
    """Switch off a fast tokenizer's truncation and padding, which its tokenizer.json may ask for."""
    if tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]  # only fast tokenizers have it
        backend.no_truncation()
        backend.no_padding()


def flat_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], words: bool = False) -> FlatIds:
    """The texts' ids one after another, without special tokens, and how many each text has.

    Call ``neither_cut_nor_pad`` first. An enormous text is tokenised in parts that begin between words, where the
    tokenizers in use split a text anyway. A word is cut only if the last thousand characters of a part have no space.
    """
    parts = [(number, part) for number, text in enumerate(texts) for part in parts_of(text)]
    flat, sizes = [], []
    for group in batches(part for _, part in parts):
        ids = marked_ids(tokenizer, group) if words else token_ids(tokenizer, group)
        sizes += list(map(len, ids))
        flat.append(np.fromiter(chain.from_iterable(ids), np.int32, count=sum(map(len, ids))))
    lengths = np.bincount([number for number, _ in parts], weights=sizes, minlength=len(texts))
    return np.concatenate(flat), lengths.astype(np.int64)


def parts_of(text: str) -> Iterator[str]:
    """The text in parts of at most PART characters, cut before a single space if there is one near the end."""
    start = 0
    while len(text) - start > PART:
        spaces = list(_BETWEEN_WORDS.finditer(text, start + PART - 1000, start + PART))
        end = spaces[-1].start() if spaces else start + PART
        yield text[start:end]
        start = end
    yield text[start:]


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Ids without special tokens, from a fast tokenizer's backend: transformers would also make masks and types."""
    if not tokenizer.is_fast:
        return tokenizer(texts, add_special_tokens=False)["input_ids"]
    backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]


def marked_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Ids without special tokens, plus WORD_START where a token begins a word (adapt/data/tokens/words.py)."""
    if not tokenizer.is_fast:
        raise ConfigError(f"{type(tokenizer).__name__} returns no offsets of its tokens, so words cannot be found")
    backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    encodings = backend.encode_batch(texts, add_special_tokens=False)
    return [
        [token + WORD_START * begins for token, begins in zip(one.ids, word_starts(text, one.offsets), strict=True)]
        for text, one in zip(texts, encodings, strict=True)
    ]


def cut(ids: Ids, lengths: NDArray[np.int64], room: int, special: SpecialTokens, first: int) -> Pieces:
    """Texts cut into pieces of ``room`` tokens (the last of a text may be shorter), with special tokens around each.

    ids: the texts' ids one after another; lengths [T]: of the texts; first: the index of the first text.
    """
    counts = -(-lengths // room)  # pieces of each text
    texts = np.repeat(np.arange(len(lengths)), counts)
    inside = np.full(len(texts), room)
    last = np.cumsum(counts)[counts > 0] - 1
    inside[last] = (lengths - (counts - 1) * room)[counts > 0]
    around = len(special.before) + len(special.after)
    ends = np.cumsum(inside + around)
    whole = np.empty(len(ids) + around * len(texts), np.int32)
    whole[np.arange(len(ids)) + np.repeat(np.arange(len(texts)), inside) * around + len(special.before)] = ids
    whole[(ends - inside - around)[:, None] + np.arange(len(special.before))] = special.before
    whole[ends[:, None] - np.arange(len(special.after), 0, -1)] = special.after
    return Pieces(whole, inside + around, texts + first)
