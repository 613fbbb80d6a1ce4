"""Finds texts of a test set in other texts, at three levels, each of which includes the stricter ones.

- ``exact``: the same string.
- ``normalised``: the same letters and digits (``adapt.data.text.normalise``). A text of punctuation only ("...")
  normalises to nothing; it can only match exactly.
- ``contained``: at least ``threshold`` of the text's distinct n-grams occur in the other texts, no matter in how many
  of them. A text that is too short for an n-gram counts as contained where it matches as normalised, or where another
  text holds it in one piece, if it has as many letters as n words (ContainmentIndex).

The defaults are those of PaLM (Chowdhery et al., 2022, on dataset contamination): an example is contaminated if at
least 70% of its 8-grams were seen in training; our n-grams are words of the normalised text, and characters worth as
much in scripts without spaces (adapt/data/characters.py). GPT-3 (Brown et al., 2020, appendix C) counts a single shared
n-gram of 8 to 13 words as a leak, which flags every stock phrase.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adapt.config import ConfigError
from adapt.data import characters
from adapt.data.containment import THRESHOLD, WORDS, ContainmentIndex, Gram
from adapt.data.text import normalise

KEY_NAME = "data.leaks.overlap"
VERSION = 2

LEVELS = ("exact", "normalised", "contained")


@dataclass
class Match:
    """The first other text that matched: its number in the stream and the passage; ``labels``: of every match."""

    number: int
    passage: str
    labels: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Hit:
    """A text that was found in the stream, by its number among the texts sought.

    ``level``: the strictest level that holds. ``share``: the share of its n-grams that occur anywhere in the stream.
    ``matches``: for each level, the single texts that match on their own. A contained text has no such match where only
    several texts together hold enough of its n-grams.
    """

    number: int
    level: str
    share: float
    matches: dict[str, Match]

    @property
    def first(self) -> Match | None:
        """The first match of the strictest level."""
        return self.matches.get(self.level)

    def at(self, level: str) -> bool:
        """Whether the text counts as found at this level."""
        return LEVELS.index(self.level) <= LEVELS.index(level)


@dataclass(frozen=True)
class LevelCount:
    """The hits at one level. Duplicate texts each count in ``hits`` and only once in ``distinct_hits``.

    Distinct texts differ in normalised form. With labels on both sides, each hit is one of four: all its matches have
    its label (``same_label``), none has it (``other_label``), some have it (``both_labels``), or no single text matches
    it (``no_single_text``, which is known without labels too). Without labels the first three are None.
    """

    level: str
    texts: int
    distinct: int
    hits: int
    distinct_hits: int
    same_label: int | None
    other_label: int | None
    both_labels: int | None
    no_single_text: int


class OverlapSearch:
    """Searches a stream of texts for given ones: pass the stream to ``add`` text by text, then ask for the ``hits``.

    Memory grows with the texts sought, not with the stream; time is linear in the stream (see ContainmentIndex).
    Raises ConfigError for ``words`` or ``threshold`` out of range.
    """

    def __init__(self, texts: Sequence[str], words: int = WORDS, threshold: float = THRESHOLD) -> None:
        self.added = 0
        self._texts = list(texts)
        self._forms = [normalise(text) for text in texts]
        self._matches: dict[str, dict[str, Match]] = {level: {} for level in LEVELS}  # exact by text, others by form
        self._exact, self._whole = set(self._texts), set(self._forms) - {""}
        self._index = ContainmentIndex(self._whole, words, threshold)
        self._known = {gram for form in self._whole for gram in self._index.sought(form)}
        self._seen = set[Gram]()

    def add(self, text: str, label: str | None = None) -> None:
        """Search the next text of the stream."""
        form = normalise(text)
        if text in self._exact:
            self._note("exact", text, text, label)
        if form in self._whole:
            self._note("normalised", form, text, label)
        held, short = self._index.read(form)
        grams = list(held)
        shared = short | self._known.intersection(grams)
        self._seen.update(shared)
        for sought in self._index.contained_in(shared):
            mine = shared.intersection(self._index.sought(sought))
            start = next((place for place, gram in enumerate(grams) if gram in mine), None)
            units = characters.units(sought)
            passage = units if start is None else characters.units(form)[start : start + len(units)]
            self._note("contained", sought, characters.joined(passage), label)
        self.added += 1

    def hits(self) -> list[Hit]:
        """The sought texts that were found so far, in the order given."""
        hits = []
        for number, (text, form) in enumerate(zip(self._texts, self._forms, strict=True)):
            exact = self._matches["exact"].get(text)
            normalised = self._matches["normalised"].get(form) or exact  # the same string, even of punctuation only
            contained = self._matches["contained"].get(form) or normalised
            matches = dict(zip(LEVELS, (exact, normalised, contained), strict=True))
            single = {level: match for level, match in matches.items() if match is not None}
            grams = self._index.sought(form)
            held = len(grams & self._seen)
            if single or (grams and held >= self._index.needed(len(grams))):
                share = held / len(grams) if grams else 1.0
                hits.append(Hit(number, next(iter(single), "contained"), share, single))
        return hits

    def _note(self, level: str, key: str, passage: str, label: str | None) -> None:
        match = self._matches[level].setdefault(key, Match(self.added, passage))
        if label is not None:
            match.labels.add(label)


def count(texts: Sequence[str], labels: Sequence[str] | None, hits: Sequence[Hit], level: str) -> LevelCount:
    """Count the hits of the texts at a level. ``labels``: of the texts; None where either side has no labels."""
    forms = [normalise(text) or text for text in texts]
    counted = [hit for hit in hits if hit.at(level)]
    kinds: Counter[str] = Counter()
    for hit in counted:
        match = hit.matches.get(level)
        if match is None:
            kinds["no single text"] += 1
        elif labels is not None:
            mine = labels[hit.number] in match.labels
            kinds["other" if not mine else "both" if len(match.labels) > 1 else "same"] += 1
    same, other, both = (None if labels is None else kinds[kind] for kind in ("same", "other", "both"))
    distinct_hits = len({forms[hit.number] for hit in counted})
    return LevelCount(
        level, len(texts), len(set(forms)), len(counted), distinct_hits, same, other, both, kinds["no single text"]
    )


def clean_examples(
    texts: Sequence[str],
    *sources: Iterable[str],
    level: str = "contained",
    words: int = WORDS,
    threshold: float = THRESHOLD,
) -> list[bool]:
    """For each text, whether it is in none of the sources (training texts, a corpus) at that level.

    Raises ConfigError for an unknown level.
    """
    if level not in LEVELS:
        raise ConfigError(f"level={level}: possible are {', '.join(LEVELS)}")
    clean = [True] * len(texts)
    for source in sources:
        search = OverlapSearch(texts, words, threshold)
        for text in source:
            search.add(text)
        for hit in search.hits():
            clean[hit.number] &= not hit.at(level)
    return clean
