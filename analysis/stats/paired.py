"""Tests and intervals for differences paired by seed. Arrays in, numbers out; no tables here.

n seeds give 2^n ways to exchange the two methods, so the smallest two-sided p is 2 / 2^n: .0625 with 5, .031 with 6.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

ENUMERATED = 16  # pairs up to which all 2^n sign vectors are enumerated; for more, a fixed random sample is used
SAMPLED = 2**16

Floats = NDArray[np.float64]


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided p of the exact sign-flip (Fisher-Pitman) test that paired differences [n] are symmetric about zero.

    p = #{s in {-1, 1}^n : |sum s_i d_i| >= |sum d_i|} / 2^n. With more than ENUMERATED pairs the share is over SAMPLED
    random sign vectors; including the observed one among them keeps the level (Hemerik and Goeman, 2018).
    """
    d = vector(differences)
    sums = d.sum() - 2 * (_flips(len(d)) @ d)
    rounding = 1e-12 * float(np.abs(d).sum())  # sums that are equal on paper must count as equal
    return float(np.mean(np.abs(sums) >= abs(d.sum()) - rounding))


def smallest_p(n: int) -> float:
    """The smallest two-sided p that the sign-flip test of n pairs can give: 2 / 2^n."""
    return 2.0 / 2**n if n <= ENUMERATED else 1.0 / SAMPLED


def sign_flip_interval(differences: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The shifts that the sign-flip test does not reject at 1 - level: an exact interval for the centre of symmetry.

    Its ends are the k-th smallest and k-th largest of the 2^n - 1 means over non-empty subsets of the differences,
    k = floor(2^n (1 - level) / 2) (Hartigan, 1969). With k = 0 (5 pairs or fewer at 95%) no shift can be rejected, so
    the interval is unbounded; with 6 pairs it goes from the smallest difference to the largest.
    """
    d = vector(differences)
    flips = _flips(len(d))[1:]  # row 0 flips nothing: the observed differences
    k = math.floor((len(flips) + 1) * (1 - level) / 2 + 1e-9)
    if k == 0:
        return -math.inf, math.inf
    means = np.sort(flips @ d / flips.sum(axis=1))
    return float(means[k - 1]), float(means[-k])


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's interval for a mean, mean +- t_{n-1} sd / sqrt(n); (nan, nan) for one value, which has no spread."""
    x = vector(values)
    if len(x) < 2:
        return math.nan, math.nan
    half = t_half_width(x.std(ddof=1), len(x), level)
    return float(x.mean() - half), float(x.mean() + half)


def t_half_width(sd: ArrayLike, n: ArrayLike, level: float = 0.95) -> Floats:
    """Half of Student's interval for a mean, t_{n-1} sd / sqrt(n), from the sd and n of one sample or of many."""
    size = np.asarray(n, dtype=np.float64)
    return np.asarray(stdtrit(size - 1, (1 + level) / 2) * np.asarray(sd, dtype=np.float64) / np.sqrt(size))


def welch_interval(
    one: tuple[float, float, float], other: tuple[float, float, float], level: float = 0.95
) -> tuple[float, float]:
    """Welch's interval (1947) for mean_1 - mean_2 of unpaired samples, each given as mean, sd and n.

    The degrees of freedom are (v_1 + v_2)^2 / (v_1^2 / (n_1 - 1) + v_2^2 / (n_2 - 1)), v = sd^2 / n.
    """
    parts = [sd**2 / n for _, sd, n in (one, other)]
    freedom = sum(parts) ** 2 / sum(v**2 / (n - 1) for v, (_, _, n) in zip(parts, (one, other), strict=True))
    difference, half = one[0] - other[0], stdtrit(freedom, (1 + level) / 2) * math.sqrt(sum(parts))
    return float(difference - half), float(difference + half)


def holm(p_values: ArrayLike) -> Floats:
    """Holm's (1979) adjusted p-values of a family of m tests: max over j <= i of min(1, (m - j + 1) p_(j)).

    A NaN means a comparison without a test: it stays NaN and does not count in the family.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


@functools.lru_cache(maxsize=1)  # the comparisons of a study mostly have the same number of pairs
def _flips(n: int) -> Floats:
    """Which differences are flipped, [2^n or SAMPLED, n] of 0 and 1; the first row flips none. Read-only."""
    flips = _enumerated(n) if n <= ENUMERATED else _sampled(n)
    flips.flags.writeable = False
    return flips


def _enumerated(n: int) -> Floats:
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)


def _sampled(n: int) -> Floats:
    flips = np.random.default_rng(0).integers(0, 2, size=(SAMPLED, n))
    flips[0] = 0
    flips[1:][flips[1:].sum(axis=1) == 0, 0] = 1  # hardly changes p; the means need non-empty subsets
    return flips.astype(np.float64)


def vector(values: ArrayLike) -> Floats:
    """The values as an array. Raises ValueError unless they are a non-empty vector of finite numbers."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise ValueError(f"a non-empty vector of finite numbers is needed, not {x!r}")
    return x
