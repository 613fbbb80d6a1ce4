"""Finds which of many short texts another text contains: at least a given share of their n-grams occur in it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator

from adapt.config import ConfigError
from adapt.data import characters

KEY_NAME = "data.containment"
VERSION = 2

WORDS = 8
THRESHOLD = 0.7
Gram = tuple[str, ...]


class ContainmentIndex:
    """Normalised texts, indexed by their rarest n-grams.

    A document that holds k of a text's n distinct n-grams holds at least one of any n - k + 1 of them (prefix
    filtering; Chaudhuri et al., 2006). So each text is indexed under its n - k + 1 rarest n-grams only, and a phrase
    that occurs in every text does not make the search quadratic. An n-gram is worth n words: n words, or more
    characters of a script without spaces (adapt/data/characters.py). A text that is worth less but has as many letters
    as n words is one n-gram: a document contains it in one piece or not at all. It is looked for where the rarest of
    its words, or of its pairs of characters, occurs. A text with still fewer letters has no n-gram and is
    never contained. Raises ConfigError for ``words`` or ``threshold`` out of range.
    """

    def __init__(self, forms: Collection[str], words: int = WORDS, threshold: float = THRESHOLD) -> None:
        if words < 1:
            raise ConfigError(f"words={words}: must be 1 or more")
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold={threshold}: must be more than 0 and at most 1")
        self.words, self.threshold = words, threshold
        frequency = Counter(gram for form in forms for gram in self.sought(form))
        self._under: dict[Gram, list[str]] = {}
        for form in forms:
            rarest = sorted(self.sought(form), key=lambda gram: (frequency[gram], gram))
            for gram in rarest[: len(rarest) - self.needed(len(rarest)) + 1]:
                self._under.setdefault(gram, []).append(form)
        short = [form for form in forms if self._is_short(form)]
        common = Counter(anchor for form in short for anchor in set(anchors(form)))
        self._short: dict[str, list[str]] = {}
        for form in short:
            rarest_anchor = min(anchors(form), key=lambda anchor: (common[anchor], anchor))
            self._short.setdefault(rarest_anchor, []).append(spaced(form))
        self._anchors = frozenset(self._short)

    def grams(self, form: str) -> Iterator[Gram]:
        """The n-grams of a normalised text in order, repetitions included."""
        return characters.grams(form, self.words)

    def sought(self, form: str) -> set[Gram]:
        """The n-grams by which a text is found: all of its units as one, if it is worth less than one n-gram."""
        grams = set(self.grams(form))
        if not grams and characters.has_letters_of(form, self.words):
            return {tuple(characters.units(form))}
        return grams

    def read(self, form: str) -> tuple[Iterator[Gram], set[Gram]]:
        """The n-grams of a normalised text, in order, and the texts of one n-gram that stand in it in one piece."""
        spaceless = characters.has_spaceless(form)
        units = characters.units(form) if spaceless else form.split()
        grams = characters.grams_of(units, self.words, spaceless)
        places = characters.words(form) if spaceless else units
        if self._anchors.isdisjoint(places):
            return grams, set()
        whole = f" {' '.join(units)} "
        candidates = (short for anchor in self._anchors.intersection(places) for short in self._short[anchor])
        return grams, {tuple(short.split()) for short in candidates if f" {short} " in whole}

    def _is_short(self, form: str) -> bool:
        return next(self.grams(form), None) is None and characters.has_letters_of(form, self.words)

    def needed(self, count: int) -> int:
        """The smallest k with k / count >= threshold, at least 1; the 1e-9 undoes floats that were rounded up."""
        return max(1, math.ceil(self.threshold * count - 1e-9))

    def contained_in(self, held: Collection[Gram]) -> Iterator[str]:
        """The texts that a document with these n-grams contains; ``held``: a set or a dict, for fast membership."""
        if self._under.keys().isdisjoint(held):
            return
        for form in {form for gram in held for form in self._under.get(gram, ())}:
            grams = self.sought(form)
            if sum(gram in held for gram in grams) >= self.needed(len(grams)):
                yield form


def anchors(form: str) -> list[str]:
    """What a text is looked up by: its words and pairs of characters; no lone one, beside which others may stand."""
    found = characters.words(form)
    return found if form.isascii() else [word for word in found if not characters.is_lone(word)]


def spaced(form: str) -> str:
    """The units of a normalised text with a space between each two of them."""
    return " ".join(characters.units(form))
