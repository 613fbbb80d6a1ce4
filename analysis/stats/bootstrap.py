"""The bootstrap over test examples, for statistics of sums over examples. Arrays in, numbers out.

Accuracy is a function of one sum over examples, macro-F1 of three sums for each class. A resample draws n of n examples
with replacement, so its sums are a matrix product of how often each example is drawn, [resamples, n], with what each
example adds, [n, k]. The sums without one example are a subtraction. The cells of a study share one draw, because they
share the test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from analysis.stats.paired import Floats

RESAMPLES = 10_000
BLOCK = 2**21  # numbers in memory at a time, 16 MB, whatever the number of resamples, examples and cells

Seed = int | np.random.Generator
OfSums = Callable[[Floats], Floats]  # sums [..., k] -> statistic [...], for any leading axes at once


def bca_interval(
    features: ArrayLike, of_sums: OfSums, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> Floats:
    """The bias-corrected and accelerated bootstrap interval of a statistic: [2, *cells], its low and its high ends.

    features: [n, *cells, k], what each example adds to the k sums of each cell; cells may be any number of axes, or
    none. Ends are the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled statistic,
    z = Phi^-1((1 -+ level) / 2), with ``bias_correction`` z0 and ``acceleration`` a (Efron, 1987, JASA 82; DiCiccio and
    Efron, 1996, Statistical Science 11, eq. 2.3). NaN if there is no interval: all examples add the same, or no
    resample is as low or as high as the data. The same seed gives the same bytes. Raises ValueError unless the features
    are finite, [n, ..., k], with at least 2 examples.
    """
    added = checked(features)
    total = added.sum(axis=0)
    estimate = of_sums(total)
    drawn = replicates(added, of_sums, resamples, seed)
    z0, a = bias_correction(drawn, estimate), acceleration(of_sums(total - added))
    z = ndtri([(1 - level) / 2, (1 + level) / 2]).reshape(2, *[1] * np.ndim(estimate))
    with np.errstate(invalid="ignore"):  # inf - inf if no resample lies on one side: NaN is what we want
        levels = ndtr(z0 + (z0 + z) / (1 - a * (z0 + z)))
    ends = np.full(levels.shape, math.nan)
    for cell in np.ndindex(levels.shape[1:]):
        if np.isfinite(levels[:, *cell]).all():
            ends[:, *cell] = np.quantile(drawn[:, *cell], levels[:, *cell])
    return ends


def replicates(features: ArrayLike, of_sums: OfSums, resamples: int = RESAMPLES, seed: Seed = 0) -> Floats:
    """The statistic of each resample of the examples, [resamples, *cells]; features, of_sums: as for bca_interval."""
    added = checked(features)
    flat = added.reshape(len(added), -1)
    width = max(flat.shape)
    return np.concatenate(
        [of_sums((counts @ flat).reshape(-1, *added.shape[1:])) for counts in draws(len(added), resamples, width, seed)]
    )


def draws(n: int, resamples: int, width: int, seed: Seed) -> Iterator[Floats]:
    """How often each of n units is drawn in n draws with replacement: [block, n], ``resamples`` rows in all.

    width: how many numbers one row needs in memory; a block has about BLOCK of them.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, rows := max(1, BLOCK // width)):
        block = min(rows, resamples - start)
        drawn = rng.integers(0, n, size=(block, n), dtype=np.min_scalar_type(n - 1))
        places = (drawn + n * np.arange(block)[:, None]).ravel()
        yield np.bincount(places, minlength=block * n).reshape(block, n).astype(np.float64)


def bias_correction(drawn: Floats, estimate: ArrayLike) -> Floats:
    """z0 = Phi^-1 of the share of resamples [resamples, *cells] below the estimate [*cells]; equal ones count half.

    A share of 0 or 1 gives an infinite z0, for which there is no interval.
    """
    rounding = 1e-12 * np.abs(drawn).max(axis=0)  # statistics that are equal on paper must count as equal
    below = (drawn < estimate - rounding).mean(axis=0)
    above = (drawn > estimate + rounding).mean(axis=0)
    return np.asarray(ndtri((1 + below - above) / 2))


def acceleration(left_out: Floats) -> Floats:
    """a = sum d^3 / (6 (sum d^2)^(3/2)), d = mean - the statistic without example i; left_out: [n, *cells].

    Efron (1987), eq. 6.6: a sixth of the skewness of the influence of one example. NaN if no example matters.
    """
    d = left_out.mean(axis=0) - left_out
    rounding = 1e-12 * np.abs(left_out).max(axis=0)
    d[np.abs(d) <= rounding] = 0.0
    with np.errstate(invalid="ignore"):
        return np.asarray((d**3).sum(axis=0) / (6 * (d**2).sum(axis=0) ** 1.5))


def checked(features: ArrayLike) -> Floats:
    """The features as an array. Raises ValueError unless they are finite, [n, ..., k], with two examples or more."""
    added = np.asarray(features, dtype=np.float64)
    if added.ndim < 2 or len(added) < 2 or not np.isfinite(added).all():
        raise ValueError(f"finite features [examples, ..., sums] of 2 examples or more are needed, not {added.shape}")
    return added
