"""Seeds and test examples as sources of chance at once: every seed's run answers the same test examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats import examples
from analysis.stats.bootstrap import RESAMPLES, OfSums, Seed, checked, draws
from analysis.stats.paired import Floats


def crossed_difference_interval(
    ours: ArrayLike, theirs: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> tuple[float, float]:
    """Interval of the mean of ours - theirs over seeds and test examples; both: [seeds, n], paired in both ways.

    By ``crossed_interval``, whose remark on few seeds holds. Raises ValueError for other shapes or one seed.
    """
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"the same seeds and examples are needed on both sides, not {one.shape} and {other.shape}")
    return crossed_interval(examples.mean_features(one - other), examples.mean, level, resamples, seed)


def crossed_interval(
    features: ArrayLike, of_sums: OfSums, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic's mean over seeds, where seeds and test examples are both drawn again.

    features: [seeds, n, k], of_sums: as bca_interval's. Crossed factors are resampled independently of each other, the
    pigeonhole bootstrap (Owen, 2007, Annals of Applied Statistics 1): one draw of examples serves all the seeds of a
    resample, because it is one test set on which a lucky example helps every seed. (Examples drawn anew for each seed
    would average that luck away, by 1 / seeds.) The variance is somewhat large for what is of a seed with an example,
    counted up to three times, and too small by (seeds - 1) / seeds for what is of the seeds, with a normal's quantile
    in place of Student's: with few seeds the interval is too narrow. So verdicts rest on stats.sign_flip_p and
    stats.t_interval over seeds; this says how much the test set adds. Raises ValueError for fewer than 2 seeds.
    """
    low, high = np.quantile(crossed_replicates(features, of_sums, resamples, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def crossed_replicates(features: ArrayLike, of_sums: OfSums, resamples: int = RESAMPLES, seed: Seed = 0) -> Floats:
    """The statistic's mean over drawn seeds on drawn examples, [resamples]. As crossed_interval otherwise."""
    by_seed = checked(features)
    if by_seed.ndim != 3:
        raise ValueError(f"features [seeds, examples, sums] are needed, not {by_seed.shape}")
    seeds, n, k = by_seed.shape
    rng = np.random.default_rng(seed)
    added = by_seed.swapaxes(0, 1).reshape(n, seeds * k)
    found = []
    for of_examples in draws(n, resamples, max(n, seeds * k), rng):
        scores = of_sums((of_examples @ added).reshape(-1, seeds, k))
        (of_seeds,) = draws(seeds, len(scores), seeds, rng)
        found.append((of_seeds * scores).sum(axis=1) / seeds)
    return np.concatenate(found)
