"""Near duplicates: documents that share most of their word 5-grams with one that is kept (MinHash, Broder, 1997)."""

from __future__ import annotations

from collections.abc import Sequence

from adapt.data.text import normalise

KEY_NAME = "data.near_duplicates"
VERSION = 1

SHINGLE_WORDS = 5
PERMUTATIONS = 128
MISSED, FALSE = 0.9, 0.1  # what the bands weigh: a missed pair is kept for good, a false one is compared and dismissed


class NearDuplicates:
    """Which documents were kept so far, and whether a new one is near one of them.

    Nearness is Jaccard's index of the sets of word 5-grams in normalised form: |A and B| / |A or B|. Candidates come
    from locality-sensitive hashing of 128 MinHash values (Leskovec et al., 2020, Mining of Massive Datasets, section
    3.4), which misses few pairs above the threshold; each candidate is compared exactly, so no pair below it counts.
    """

    def __init__(self, threshold: float, texts: Sequence[str]) -> None:
        from datasketch import MinHashLSH  # imports scipy's integration, which a corpus without this does not need

        self.threshold = threshold
        self._texts = texts
        self._index = MinHashLSH(threshold, num_perm=PERMUTATIONS, weights=(FALSE, MISSED))

    def met(self, row: int) -> bool:
        """Whether a kept one of the texts is near ``texts[row]``; if none is, this one is kept."""
        from datasketch import MinHash

        shingles = shingles_of(self._texts[row])
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch([shingle.encode() for shingle in shingles])
        for kept in self._index.query(sketch):
            if jaccard(shingles, shingles_of(self._texts[kept])) >= self.threshold:
                return True
        self._index.insert(row, sketch, check_duplication=False)
        return False


def shingles_of(text: str) -> set[str]:
    """The word 5-grams of the normalised text; of a shorter one, the whole."""
    words = normalise(text).split()
    return {" ".join(words[at : at + SHINGLE_WORDS]) for at in range(max(1, len(words) - SHINGLE_WORDS + 1))}


def jaccard(one: set[str], other: set[str]) -> float:
    """|A and B| / |A or B|, from 0 to 1."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
