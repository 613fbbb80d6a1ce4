"""Scores of a method over a suite of tasks: interquartile mean and probability of improvement, with intervals.

After Agarwal et al. (2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4.3 and
appendix A): the tasks are fixed, and the seeds of each task are resampled separately (stratified bootstrap, percentile
intervals). Scores must be on one scale, such as differences to a baseline or normalised scores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

from analysis.stats.bootstrap import BLOCK, RESAMPLES, Seed
from analysis.stats.paired import Floats


def interquartile_mean(scores: ArrayLike) -> float:
    """Mean of the middle half of all m scores [seeds, tasks] together; floor(m / 4) are cut at either end."""
    return float(trim_mean(_suite(scores), 0.25, axis=None))


def interquartile_mean_interval(
    scores: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> tuple[float, float]:
    """Stratified percentile interval of the interquartile mean of scores [seeds, tasks]."""
    x = _suite(scores)
    means = [trim_mean(drawn.reshape(len(drawn), -1), 0.25, axis=1) for drawn in _drawn(x, resamples, seed)]
    return _percentiles(np.concatenate(means), level)


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike) -> float:
    """P(ours > theirs) + P(equal) / 2 for a random seed of each, averaged over tasks; [seeds, tasks], [other, tasks].

    The Mann-Whitney U statistic of each task, divided by the number of pairs. It does not pair seeds, and says nothing
    about how large an improvement is. Raises ValueError for different numbers of tasks.
    """
    return float(np.mean([wins.mean() for wins in _wins(ours, theirs)]))


def probability_of_improvement_interval(
    ours: ArrayLike, theirs: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> tuple[float, float]:
    """Stratified percentile interval of ``probability_of_improvement``; each side's seeds are resampled separately."""
    rng = np.random.default_rng(seed)
    total = np.zeros(resamples)
    tasks = _wins(ours, theirs)
    for wins in tasks:
        one, other = (rng.multinomial(n, np.full(n, 1 / n), size=resamples) for n in wins.shape)
        total += ((one @ wins) * other).sum(axis=1) / wins.size
    return _percentiles(total / len(tasks), level)


def _wins(ours: ArrayLike, theirs: ArrayLike) -> list[Floats]:
    """For each task, [seeds, other seeds]: 1 where ours is better, .5 where both are equal, else 0."""
    x, y = _suite(ours), _suite(theirs)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"the same tasks are needed on both sides, not {x.shape[1]} and {y.shape[1]}")
    return [(np.sign(a[:, None] - b) + 1) / 2 for a, b in zip(x.T, y.T, strict=True)]


def _drawn(x: Floats, resamples: int, seed: Seed) -> Iterator[Floats]:
    """Resampled scores [block, seeds, tasks], with separate draws of seeds for each task."""
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // x.size)
    tasks: NDArray[np.intp] = np.arange(x.shape[1])
    for start in range(0, resamples, rows):
        places = rng.integers(0, len(x), size=(min(rows, resamples - start), *x.shape))
        yield x[places, tasks]


def _percentiles(drawn: Floats, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _suite(scores: ArrayLike) -> Floats:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise ValueError(f"finite scores [seeds, tasks] are needed, equally many seeds for every task, not {x.shape}")
    return x
