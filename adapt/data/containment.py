"""Finds which of many short texts another text contains: at least a given share of their word n-grams occur in it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator

from adapt.config import ConfigError

KEY_NAME = "data.containment"
VERSION = 1

WORDS = 8
THRESHOLD = 0.7
Gram = tuple[str, ...]


class ContainmentIndex:
    """Normalised texts, indexed by their rarest n-grams.

    A document that holds k of a text's n distinct n-grams holds at least one of any n - k + 1 of them (prefix
    filtering; Chaudhuri et al., 2006). So each text is indexed under its n - k + 1 rarest n-grams only, and a phrase
    that occurs in every text does not make the search quadratic. A text with fewer words than an n-gram has no n-gram
    and is never contained. Raises ConfigError for ``words`` or ``threshold`` out of range.
    """

    def __init__(self, forms: Collection[str], words: int = WORDS, threshold: float = THRESHOLD) -> None:
        if words < 1:
            raise ConfigError(f"words={words}: must be 1 or more")
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold={threshold}: must be more than 0 and at most 1")
        self.words, self.threshold = words, threshold
        frequency = Counter(gram for form in forms for gram in set(self.grams(form)))
        self._under: dict[Gram, list[str]] = {}
        for form in forms:
            rarest = sorted(set(self.grams(form)), key=lambda gram: (frequency[gram], gram))
            for gram in rarest[: len(rarest) - self.needed(len(rarest)) + 1]:
                self._under.setdefault(gram, []).append(form)

    def grams(self, form: str) -> Iterator[Gram]:
        """The n-grams of a normalised text in order, repetitions included."""
        words = form.split()
        return zip(*(words[start:] for start in range(self.words)), strict=False)

    def needed(self, count: int) -> int:
        """The smallest k with k / count >= threshold, at least 1; the 1e-9 undoes floats that were rounded up."""
        return max(1, math.ceil(self.threshold * count - 1e-9))

    def contained_in(self, held: Collection[Gram]) -> Iterator[str]:
        """The texts that a document with these n-grams contains; ``held``: a set or a dict, for fast membership."""
        if self._under.keys().isdisjoint(held):
            return
        for form in {form for gram in held for form in self._under.get(gram, ())}:
            grams = set(self.grams(form))
            if sum(gram in held for gram in grams) >= self.needed(len(grams)):
                yield form
