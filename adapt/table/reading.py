"""Rows that say what became of the texts that a run reads, and when too little of them is left.

The metrics, by the split of a task or the part of a pretraining text:

- ``unknown_tokens``: the share of tokens that stand for what the vocabulary lacks; n: the tokens, without special ones.
- ``unknown_characters``: the share of visible characters in such tokens or in none, only where the tokenizer joins
  unknown characters into one token or leaves them out; n: the visible characters.
- ``byte_tokens``: the share of tokens that are single bytes, only where the tokenizer falls back to them; n: the
  tokens. Bytes are not unknown.
- ``unread_texts``: how many texts, of n, have no known token.
- ``truncated_texts``: how many examples, of n, were cut at max_length. Pretraining cuts a text into several sequences
  and loses nothing, so that its rows have 0.
- ``in_train``, ``in_dev``: how many texts of a split stand in that other split too: at least 70% of their 8-grams, or
  whole (level ``contained`` of adapt/data/leaks/overlap.py); ``in_train_exact``, ``in_dev_exact``: the same string.
- ``examples``: how many examples of a split are used; n: how many its source has.
"""

from __future__ import annotations

from typing import Any, Protocol

from adapt.table.measurement import Measurements, measurement

KEY_NAME = "table.reading"
VERSION = 1

UNKNOWN, UNKNOWN_CHARACTERS, BYTES = "unknown_tokens", "unknown_characters", "byte_tokens"
UNREAD, TRUNCATED, EXAMPLES = "unread_texts", "truncated_texts", "examples"
MOST = 0.5  # the share of a split in another one above which it cannot do what it is for
WARN, REFUSE = 0.05, 0.30  # shares of unknown tokens (or characters) above which a run warns or is refused
FEW = 20  # tokens: a run is not refused for a share of fewer, which may be one sentence of a layout that is tried


class Known(Protocol):
    """Counts over some texts: see adapt/data/tokens/unknown.py."""

    texts: int
    unread: int
    tokens: int
    unknown: int
    in_bytes: int
    characters: int
    lost: int


def rows(
    split: str, known: Known, *, examples: int, truncated: int, has_bytes: bool, by_characters: bool
) -> Measurements:
    """The rows of one split. examples: how many there are; truncated: how many of them were cut."""
    shares: dict[str, tuple[int, int]] = {UNKNOWN: (known.unknown, known.tokens)}
    shares |= {UNKNOWN_CHARACTERS: (known.lost, known.characters)} if by_characters else {}
    shares |= {BYTES: (known.in_bytes, known.tokens)} if has_bytes else {}
    measured = [measurement(split, name, part / max(1, whole), n=whole) for name, (part, whole) in shares.items()]
    return [
        *measured,
        measurement(split, UNREAD, known.unread, n=known.texts),
        measurement(split, TRUNCATED, truncated, n=examples),
    ]


def tokens(rows: Measurements, split: str) -> int:
    """How many tokens a split's share of unknown tokens is of."""
    row = row_of(rows, split, UNKNOWN)
    return 0 if row is None else int(row["n"])


def contained_in(split: str, *, exact: bool = False) -> str:
    """The metric that counts the texts of a split that stand in another one."""
    return f"in_{split}" + "_exact" * exact


def unknown_share(measured: Measurements, split: str) -> float:
    """The larger share of what a tokenizer does not know of a split: of its tokens or of its characters."""
    return max(values(measured, split, UNKNOWN, UNKNOWN_CHARACTERS), default=0.0)


def values(measured: Measurements, split: str, *metrics: str) -> list[float]:
    """The values of these metrics of a split."""
    return [row["value"] for row in measured if row["split"] == split and row["metric"] in metrics]


def splits(measured: Measurements) -> list[str]:
    """The splits whose texts were counted, in the order of the rows."""
    return list(dict.fromkeys(row["split"] for row in measured if row["metric"] == UNKNOWN))


def row_of(measured: Measurements, split: str, metric: str) -> dict[str, Any] | None:
    """The row of a split and metric."""
    return next((row for row in measured if (row["split"], row["metric"]) == (split, metric)), None)
