"""Randomly drawn studies, many at once, and the sign-flip test of all of them. Arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats.paired import ENUMERATED, Floats

Size = tuple[int, int, int]  # studies, cells, pairs; cell 0 is the baseline
Draw = Callable[[np.random.Generator, Size], Floats]  # the scores of all studies, of that shape

FAILS, FAILED = 0.1, -10.0  # training fails for one seed in ten, and the score falls by ten standard deviations
_SUMS = 2**17  # sums in memory at once: 1 MB, which fits in a core's cache


def p_values(differences: ArrayLike) -> Floats:
    """Two-sided p [studies] of the exact sign-flip test of each row of paired differences [studies, n].

    The p-values of paired.sign_flip_p, for all rows at once. Half of the 2^n sign vectors are enough, since s and -s
    give the same |sum|. Raises ValueError for more than ENUMERATED pairs, and unless the input is a finite 2-D array.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or d.size == 0 or not np.isfinite(d).all():
        raise ValueError(f"finite differences [studies, n] are needed, not an array of shape {d.shape}")
    n = d.shape[1]
    if n > ENUMERATED:
        raise ValueError(f"{n} pairs: all sign vectors are enumerated for up to {ENUMERATED} pairs only")
    signs = 1.0 - 2 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
    rounding = 1e-12 * np.abs(d).sum(axis=1)  # as in paired.sign_flip_p
    least = np.abs(d.sum(axis=1)) - rounding
    rows = max(1, _SUMS // len(signs))
    parts = [slice(start, start + rows) for start in range(0, len(d), rows)]
    return np.concatenate([(np.abs(d[part] @ signs.T) >= least[part, None]).mean(axis=1) for part in parts])


def normal(rng: np.random.Generator, size: Size) -> Floats:
    """Scores from N(0, 1)."""
    return rng.normal(size=size)


def skewed(rng: np.random.Generator, size: Size) -> Floats:
    """Scores from the lognormal distribution exp(N(0, 1)), moved and scaled to mean 0 and sd 1."""
    return (rng.lognormal(size=size) - math.exp(0.5)) / math.sqrt(math.exp(2) - math.e)


def heavy_tailed(rng: np.random.Generator, size: Size) -> Floats:
    """Scores from Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, size=size)


def failing(rng: np.random.Generator, size: Size) -> Floats:
    """Scores from N(0, 1), of which a share FAILS is lower by -FAILED, shifted to mean 0: bimodal."""
    return rng.normal(size=size) + FAILED * (rng.random(size) < FAILS) - FAILED * FAILS


def divided(runs: Floats) -> Draw:
    """Studies made of real scores [runs]: each study assigns runs to cells at random, without replacement."""

    def draw(rng: np.random.Generator, size: Size) -> Floats:
        studies, cells, pairs = size
        order = rng.permuted(np.tile(np.arange(len(runs)), (studies, 1)), axis=1)
        return runs[order[:, : cells * pairs]].reshape(size)

    return draw


def unlike(draw: Draw) -> Draw:
    """Studies whose baseline scores are from N(0, 1) and whose methods' scores are from ``draw``."""
    return lambda rng, size: np.where(np.arange(size[1])[:, None] == 0, normal(rng, size), draw(rng, size))


def planted(draw: Draw, effect: float, sd: float) -> Draw:
    """The same studies with all methods better than the baseline by an effect; sd: of the scores of one cell.

    The effect is in units of the sd of differences: for independently drawn cells, sqrt(2) times that of the scores.
    """

    def better(rng: np.random.Generator, size: Size) -> Floats:
        gains = np.where(np.arange(size[1])[:, None] == 0, 0.0, effect * math.sqrt(2) * sd)
        return draw(rng, size) + gains

    return better


NOISE: dict[str, Draw] = {
    "normal": normal,
    "skewed (lognormal)": skewed,
    "heavy tails (t3)": heavy_tailed,
    "1 seed in 10 fails": failing,
}
UNLIKE: dict[str, Draw] = {  # a baseline and a method with equal means but different distributions
    "normal, skewed": unlike(skewed),
    "normal, 1 seed in 10 fails": unlike(failing),
}
