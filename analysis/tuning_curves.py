"""The expected best dev score against the number of settings that were tried, from the trials of a random search."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats import Floats, vector


def best_of(n: int) -> Floats:
    """The chance that each of n ascending trials is the best of k of them, k = 1 to n: [k, n], C(i-1, k-1) / C(n, k).

    The weights of the U-statistic of Tang et al. (2020, "Showing Your Work Doesn't Always Work", section 3.2).
    """
    k, rank = np.arange(1, n + 1)[:, None], np.arange(n, 1, -1)
    steps = np.clip(rank - k, 0, None) / (rank - 1)  # from rank i to i - 1; the coefficients overflow for n over 1,000
    return np.asarray(k / n * np.cumprod(np.concatenate([np.ones((n, 1)), steps], axis=1), axis=1)[:, ::-1])


def expected_best(scores: ArrayLike) -> Floats:
    """The expected best of k trials, k = 1 to n, without bias: the mean over all subsets of k of the n scores. [n].

    At k = n it is the best score itself. Higher is better.
    """
    v = np.sort(vector(scores))
    return np.asarray(best_of(len(v)) @ v)


def expected_best_with_replacement(scores: ArrayLike) -> Floats:
    """The expected best of k draws from the n scores, k = 1 to n: sum_i v_(i) ((i / n)^k - ((i - 1) / n)^k). [n].

    The plug-in form of Dodge et al. (2019, "Show Your Work", section 3.1), as published curves have it. It draws a
    score more than once, so it lies below ``expected_best`` for every k > 1 unless the scores are all equal.
    """
    v = np.sort(vector(scores))
    k = np.arange(1, len(v) + 1)[:, None]
    shares = np.arange(len(v) + 1) / len(v)
    return np.asarray(np.diff(shares**k, axis=1) @ v)
