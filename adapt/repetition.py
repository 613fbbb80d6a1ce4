"""How much generated text repeats itself, in n-grams of its tokens."""

from __future__ import annotations

from collections.abc import Sequence

KEY_NAME = "repetition"
VERSION = 1


def ngrams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """All n-grams in their order, len(tokens) - n + 1 of them; none of a shorter text."""
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def repeated(tokens: Sequence[int], n: int = 4) -> float | None:
    """seq-rep-n = 1 - |unique n-grams| / |n-grams| (Welleck et al., 2020, equation 10), in [0, 1).

    None of a text that has no n-gram.
    """
    found = ngrams(tokens, n)
    return 1 - len(set(found)) / len(found) if found else None


def distinct(answers: Sequence[Sequence[int]], n: int) -> float | None:
    """distinct-n: different n-grams of all answers over the number of their tokens (Li et al., 2016, section 5.2).

    In [0, 1]. None where no answer has a token.
    """
    tokens = sum(map(len, answers))
    return len({found for answer in answers for found in ngrams(answer, n)}) / tokens if tokens else None
