"""Recognises training texts that hold a banned text: one that must not be seen in training."""

from __future__ import annotations

from collections.abc import Iterable

from adapt.data.containment import THRESHOLD, WORDS, ContainmentIndex, spaced
from adapt.data.text import normalise

KEY_NAME = "data.leakage"
VERSION = 3


class BannedTexts:
    """Banned texts, which no training text may hold, by the levels of the leak report (adapt/data/leaks/overlap.py).

    A text holds a banned one if it is the same string, if it has the same normalised form (letters and digits, lower
    case), or if at least ``threshold`` of the banned text's ``shingle``-grams occur in it; with threshold None, only if
    the whole banned text occurs in it in one piece. A banned text that is too short for an n-gram ("Yes."; see
    ContainmentIndex) matches only a text that equals it, since short phrases also occur in unrelated documents. Time is
    linear in the texts searched. Raises ConfigError for a number out of range.
    """

    def __init__(self, texts: Iterable[str], shingle: int = WORDS, threshold: float | None = THRESHOLD) -> None:
        self._exact = set(texts)
        self._whole = {normalise(text) for text in self._exact} - {""}
        self._index = ContainmentIndex(self._whole, shingle, 1.0 if threshold is None else threshold)
        self._in_one_piece = threshold is None

    def __len__(self) -> int:
        return len(self._whole)

    def found_in(self, text: str) -> bool:
        """Whether the text holds one of the banned texts."""
        if text in self._exact:
            return True
        form = normalise(text)
        if form in self._whole:
            return True
        grams, short = self._index.read(form)
        contained = self._index.contained_in(short.union(grams) if short else set(grams))
        return any(not self._in_one_piece or f" {spaced(banned)} " in f" {spaced(form)} " for banned in contained)
