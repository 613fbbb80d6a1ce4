"""Seeds and test examples both as sources of chance: every seed's run predicts the same test examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats import examples
from analysis.stats.bootstrap import RESAMPLES, OfSums, Seed, checked, draws
from analysis.stats.paired import Floats


def crossed_difference_interval(
    ours: ArrayLike, theirs: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> tuple[float, float]:
    """Interval of the mean of ours - theirs over seeds and test examples; both are [seeds, n], paired in both ways.

    By ``crossed_interval``; see there for few seeds. Raises ValueError for other shapes or only one seed.
    """
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"the same seeds and examples are needed on both sides, not {one.shape} and {other.shape}")
    return crossed_interval(examples.mean_features(one - other), examples.mean, level, resamples, seed)


def crossed_interval(
    features: ArrayLike, of_sums: OfSums, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic's mean over seeds, where both seeds and test examples are resampled.

    features: [seeds, n, k], of_sums: as for bca_interval. The crossed factors are resampled independently of each other
    (pigeonhole bootstrap; Owen, 2007, Annals of Applied Statistics 1): all seeds of a resample share one draw of
    examples, because there is one test set, on which a lucky example helps every seed. (A new draw of examples for each
    seed would average that luck away, by 1 / seeds.) The variance is somewhat too large for the interaction of seeds
    and examples, which counts up to three times. It is too small, by (seeds - 1) / seeds, for the seeds, and has a
    normal quantile in place of Student's: with few seeds the interval is too narrow. So verdicts rest on
    paired.sign_flip_p and paired.t_interval over seeds; this interval shows how much the test set adds. Raises
    ValueError for fewer than 2 seeds.
    """
    low, high = np.quantile(crossed_replicates(features, of_sums, resamples, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def crossed_replicates(features: ArrayLike, of_sums: OfSums, resamples: int = RESAMPLES, seed: Seed = 0) -> Floats:
    """The statistic's mean over the drawn seeds on the drawn examples, [resamples]. Otherwise as crossed_interval."""
    by_seed = checked(features)
    if by_seed.ndim != 3:
        raise ValueError(f"features [seeds, examples, sums] are needed, not {by_seed.shape}")
    seeds, n, k = by_seed.shape
    rng = np.random.default_rng(seed)
    added = by_seed.swapaxes(0, 1).reshape(n, seeds * k)
    replicates = []
    for of_examples in draws(n, resamples, max(n, seeds * k), rng):
        scores = of_sums((of_examples @ added).reshape(-1, seeds, k))
        (of_seeds,) = draws(seeds, len(scores), seeds, rng)
        replicates.append((of_seeds * scores).sum(axis=1) / seeds)
    return np.concatenate(replicates)
