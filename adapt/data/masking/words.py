"""Masking strategies that choose whole words: at random, in spans, or weighted by nearness to the text's anchors.

Each strategy is a ``Choose`` of adapt/data/masking/tokens.py: given an example's candidates, it returns the tokens to
predict, and the units that share one draw of 80/10/10. Words are those of ``word_starts`` (adapt/data/tokens/words.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from adapt.data.masking.tokens import Candidates, Chosen

KEY_NAME = "data.masking.words"
VERSION = 1
LONGEST_SPAN = 10  # words (Joshi et al., 2020, section 3.1)
LONGEST_WORD = 10  # tokens; longer runs without a space (a link, Thai) are cut, or one word would fill the whole mask
Word = NDArray[np.int64]  # indices of adjacent candidates


def whole_words(random: np.random.Generator, candidates: Candidates, count: int) -> Chosen:
    """Random words until ``count`` tokens are reached; 80/10/10 is drawn for each token (BERT, whole word masking)."""
    words = words_of(candidates)
    taken = fill(random, (words[index] for index in random.permutation(len(words))), count)
    return separate_units(taken)


def spans(random: np.random.Generator, candidates: Candidates, count: int, *, span_length: float) -> Chosen:
    """Spans of whole words until ``count`` tokens are reached (SpanBERT, Joshi et al., 2020, section 3.1).

    A span begins at a random word that is not yet masked and has l words, P(l) ~ p (1 - p)^(l - 1) for l from 1 to 10,
    p = 1 / span_length; it ends early at a masked word or at the end of a text. 80/10/10 is drawn once per span.
    """
    words = words_of(candidates)
    chances = (1 - 1 / span_length) ** np.arange(LONGEST_SPAN)
    lengths = np.cumsum(chances / chances.sum())
    free = np.ones(len(words), dtype=bool)
    span_of: dict[int, int] = {}

    def drawn() -> Iterator[Word]:
        for span in range(len(words)):
            start = random.choice(np.flatnonzero(free))
            length = int(np.searchsorted(lengths, random.random())) + 1
            for word in range(start, min(start + length, len(words))):
                if not free[word] or (word > start and not side_by_side(candidates, words[word])):
                    break
                free[word] = False
                span_of.update(dict.fromkeys(words[word].tolist(), span))
                yield words[word]
            if not free.any():
                return

    indices = np.sort(np.concatenate(fill(random, drawn(), count)))
    _, units = np.unique([span_of[index] for index in indices.tolist()], return_inverse=True)
    return indices, by_first(units)


def weighted_words(
    random: np.random.Generator, candidates: Candidates, count: int, *, weigh: Callable[[list[Word]], NDArray]
) -> Chosen:
    """Words drawn without replacement in proportion to their weights, until ``count`` tokens are reached.

    weigh: the token ids of the words -> their weights w. Words are taken in ascending order of Exp(1) / w (Efraimidis
    and Spirakis, 2006): the first is word i with probability w_i / sum of w, and so on among the rest.
    """
    words = words_of(candidates)
    weights = weigh([candidates.ids[word] for word in words])
    order = np.argsort(random.exponential(size=len(words)) / weights, kind="stable")
    return separate_units(fill(random, (words[index] for index in order), count))


def words_of(candidates: Candidates) -> list[Word]:
    """The candidates grouped into words; a word begins at a word start, after a gap, and after LONGEST_WORD tokens."""
    assert candidates.starts is not None, "whole words are to be masked, but the batch has no word_starts"
    begins = candidates.starts.copy()
    begins[0] = True
    begins[1:] |= np.diff(candidates.columns) > 1
    words = np.split(np.arange(len(begins)), np.flatnonzero(begins)[1:])
    return [word[cut : cut + LONGEST_WORD] for word in words for cut in range(0, len(word), LONGEST_WORD)]


def side_by_side(candidates: Candidates, word: Word) -> bool:
    """Whether a word directly follows the candidate before it."""
    return bool(candidates.columns[word[0]] - candidates.columns[word[0] - 1] == 1)


def fill(random: np.random.Generator, words: Iterable[Word], count: int) -> list[Word]:
    """Words in order until ``count`` tokens are reached.

    A word that would exceed ``count`` is taken with the probability that makes the expected number of tokens ``count``:
    if it were always left out, long words would never be masked. The first word is always taken.
    """
    taken: list[Word] = []
    left = count
    for word in words:
        if len(word) > left:
            if not taken or random.random() < left / len(word):
                taken.append(word)
            break
        taken.append(word)
        left -= len(word)
        if left == 0:
            break
    return taken


def separate_units(words: list[Word]) -> Chosen:
    """The words' tokens in order, each a unit of its own."""
    indices = np.sort(np.concatenate(words))
    return indices, np.arange(len(indices))


def by_first(units: NDArray[np.int64]) -> NDArray[np.int64]:
    """The units renumbered 0, 1, ... in the order of their first occurrence, so that the last has the highest."""
    _, first, inverse = np.unique(units, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
