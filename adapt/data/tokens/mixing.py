"""Mixes several token sources in one training: at every step, each source has had its share of sequences, within one.

What a step reads is a function of (seed, step), so that a resumed run goes on with the same sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from adapt.data.tokens.batching import POOL
from adapt.data.tokens.tokens import Ids, Sequences

KEY_NAME = "data.tokens.mixing"
VERSION = 1


class Mixture:
    """Several sources as one: sequences are numbered across the sources in order, so that example ids are unique."""

    def __init__(self, sources: Sequence[Sequences]) -> None:
        self.sources = list(sources)
        self.firsts = np.cumsum([0, *map(len, self.sources)])
        self.lengths: Ids = np.concatenate([source.lengths for source in self.sources])
        self.packed = any(source.packed for source in self.sources)
        self.words = all(source.words for source in self.sources)

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, index: int) -> Ids:
        """The token ids of a sequence, special tokens included."""
        source, own = self._find(index)
        return source.ids(own)

    def word_starts(self, index: int) -> NDArray[np.bool_]:
        """Whether each token of a sequence begins a word; only where words are marked."""
        source, own = self._find(index)
        return source.word_starts(own)

    def starts(self, index: int) -> Ids:
        """The offset in a packed sequence at which each of its texts begins; the first is 0."""
        source, own = self._find(index)
        return source.starts(own)

    def _find(self, index: int) -> tuple[Sequences, int]:
        number = int(np.searchsorted(self.firsts, index, side="right")) - 1
        return self.sources[number], index - int(self.firsts[number])


def schedule(shares: Sequence[float], slots: int) -> NDArray[np.int8]:
    """Which source each slot reads, so that after any k slots each source has been read share * k times, within one.

    Each slot goes to the source with the earliest deadline among those that may be read (Tijdeman, 1980, The chairman
    assignment problem, Discrete Mathematics 32): the deviation is at most 1 - 1 / (2n - 2) for n sources.
    """
    slack = 1 - 1 / (2 * len(shares) - 2) if len(shares) > 1 else 0.0
    given = [0] * len(shares)
    order = np.zeros(slots, np.int8)
    for slot in range(slots):
        soonest, chosen = float("inf"), 0
        for source, share in enumerate(shares):
            behind = share * (slot + 1) - given[source]
            if behind >= 1 - slack - 1e-9 and (slack - behind) / share < soonest:
                soonest, chosen = (slack - behind) / share, source
        given[chosen] += 1
        order[slot] = chosen
    return order


@dataclass(frozen=True)
class MixedSteps(Sequence[list[int]]):
    """For each step, ``batch_size`` indices into a :class:`Mixture`, of sequences of about equal length.

    Each source is shuffled on its own, and shuffled anew each time it has been read to its end. Within a pool of POOL
    consecutive steps, the sequences of a source are sorted by length, so that a step reads sequences of similar length.
    shares: the share of each source, sum 1.
    """

    mixture: Mixture
    shares: tuple[float, ...]
    batch_size: int
    steps: int
    seed: int

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[int]:  # type: ignore[override]  # no slices
        if not 0 <= step < self.steps:
            raise IndexError(step)
        return self._pool(step // POOL)[step % POOL]

    @cached_property
    def quotas(self) -> NDArray[np.int64]:
        """The number of sequences of each source in each step, [steps, sources]."""
        slots = schedule(self.shares, self.steps * self.batch_size).reshape(self.steps, self.batch_size)
        return np.stack([(slots == source).sum(1) for source in range(len(self.shares))], axis=1)

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        """The number of sequences of each source that all earlier steps have read, [steps + 1, sources]."""
        return np.concatenate([np.zeros((1, len(self.shares)), np.int64), np.cumsum(self.quotas, axis=0)])

    @cached_property
    def _pool(self):  # type: ignore[no-untyped-def]  # lru_cache has no name for its own type
        return lru_cache(maxsize=2)(self._read_pool)

    def _read_pool(self, number: int) -> list[list[int]]:
        first, last = number * POOL, min((number + 1) * POOL, self.steps)
        by_length = np.random.default_rng([self.seed, number]).permutation(
            last - first
        )  # the step that gets the n-th length
        pool: list[list[int]] = [[] for _ in range(last - first)]
        for source in range(len(self.shares)):
            indices = self._stream(source, int(self._before[first, source]), int(self._before[last, source]))
            indices = indices[np.argsort(self.mixture.lengths[indices], kind="stable")]
            sizes = self.quotas[first:last, source][by_length]
            for step, part in zip(by_length.tolist(), np.split(indices, np.cumsum(sizes)[:-1]), strict=True):
                pool[step] += part.tolist()
        return pool

    def _stream(self, source: int, start: int, end: int) -> NDArray[np.int64]:
        """The indices of the start-th to the end-th sequence read from a source, over as many shuffles as needed."""
        size = len(self.mixture.sources[source])
        shuffles = range(start // size, -(-end // size))
        order = [self._shuffle(source, number) for number in shuffles] or [np.zeros(0, np.int64)]
        at = start - (start // size) * size
        return np.concatenate(order)[at : at + end - start] + self.mixture.firsts[source]

    def _shuffle(self, source: int, number: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, source, number]).permutation(len(self.mixture.sources[source]))
