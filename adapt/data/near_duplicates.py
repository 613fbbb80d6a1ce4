"""Near duplicates: documents that share most of their 5-grams with an earlier one (MinHash, Broder, 1997)."""

from __future__ import annotations

from collections.abc import Sequence

from adapt.data import characters
from adapt.data.text import normalise

KEY_NAME = "data.near_duplicates"
VERSION = 2

SHINGLE_WORDS = 5
PERMUTATIONS = 128
MISSED, FALSE = 0.9, 0.1  # weights of the bands: a missed pair is never looked at again, a false one costs a comparison


class NearDuplicates:
    """An index of documents that are not near duplicates of each other.

    Two documents are near duplicates if the Jaccard index of their sets of normalised 5-grams, |A and B| /
    |A or B|, reaches the threshold. Candidates come from locality-sensitive hashing of 128 MinHash values (Leskovec et
    al., 2020, Mining of Massive Datasets, section 3.4), which misses few pairs above the threshold; each candidate is
    then compared exactly, so no pair below the threshold counts. The n-grams are of words, and of characters that are
    worth as much in scripts without spaces (adapt/data/characters.py).
    """

    def __init__(self, threshold: float, texts: Sequence[str]) -> None:
        from datasketch import MinHashLSH  # imports scipy.integrate, which other corpora do not need

        self.threshold = threshold
        self._texts = texts
        self._index = MinHashLSH(threshold, num_perm=PERMUTATIONS, weights=(FALSE, MISSED))

    def is_near_duplicate(self, row: int) -> bool:
        """Whether ``texts[row]`` is a near duplicate of an indexed text; if it is not, it joins the index."""
        from datasketch import MinHash

        shingles = shingles_of(self._texts[row])
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch([shingle.encode() for shingle in shingles])
        for candidate in self._index.query(sketch):
            if jaccard(shingles, shingles_of(self._texts[candidate])) >= self.threshold:
                return True
        self._index.insert(row, sketch, check_duplication=False)
        return False


def shingles_of(text: str) -> set[str]:
    """The 5-grams of the normalised text; of a text that is worth fewer than 5 words, the whole text."""
    form = normalise(text)
    return {" ".join(gram) for gram in characters.grams(form, SHINGLE_WORDS)} or {form}


def jaccard(one: set[str], other: set[str]) -> float:
    """The Jaccard index |A and B| / |A or B|, from 0 to 1."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
