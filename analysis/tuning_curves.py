"""The expected best dev score against the number of settings that were tried, from the trials of a random search."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from analysis.stats import Floats, vector


def expected_best(scores: ArrayLike) -> Floats:
    """The expected best of k trials, k = 1 to n, without bias: the mean over all subsets of k of the n scores. [n].

    With the scores ascending, sum_i v_(i) C(i - 1, k - 1) / C(n, k): the U-statistic of Tang et al. (2020, "Showing
    Your Work Doesn't Always Work", section 3.2). At k = n it is the best score itself. Higher is better.
    """
    v = np.sort(vector(scores))
    n = len(v)
    best = np.empty(n)
    rank = np.arange(1, n + 1)
    for k in range(1, n + 1):
        below = rank[::-1][:-1]  # from rank i to rank i - 1: C(i - 2, k - 1) / C(i - 1, k - 1) = (i - k) / (i - 1)
        steps = np.clip(below - k, 0, None) / (below - 1)
        weights = k / n * np.cumprod(np.concatenate([[1.0], steps]))
        best[k - 1] = weights[::-1] @ v
    return best


def expected_best_with_replacement(scores: ArrayLike) -> Floats:
    """The expected best of k draws from the n scores, k = 1 to n: sum_i v_(i) ((i / n)^k - ((i - 1) / n)^k). [n].

    The plug-in form of Dodge et al. (2019, "Show Your Work", section 3.1), as published curves have it. It draws a
    score more than once, so it lies below ``expected_best`` for every k > 1 unless the scores are all equal.
    """
    v = np.sort(vector(scores))
    k = np.arange(1, len(v) + 1)[:, None]
    shares = np.arange(len(v) + 1) / len(v)
    return np.asarray(np.diff(shares**k, axis=1) @ v)
