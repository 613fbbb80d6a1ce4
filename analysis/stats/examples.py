"""What one run's, or two runs', answers to the same test examples show: intervals of scores, and McNemar's test.

Everything here is given the trained models: examples are the only source of chance. Over seeds:
analysis.stats.paired; over both: analysis.stats.seeds_and_examples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr

from analysis.stats.bootstrap import RESAMPLES, OfSums, Seed, bca_interval
from analysis.stats.paired import Floats


def mean_interval(values: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0) -> Floats:
    """BCa interval of the mean over test examples: [2] for values [n], [2, cells] for values [n, cells].

    values: of each example, such as 1 for a right answer and 0 for a wrong one. As bca_interval otherwise.
    """
    return bca_interval(mean_features(values), mean, level, resamples, seed)


def difference_interval(
    ours: ArrayLike, theirs: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> Floats:
    """BCa interval of the mean of ours - theirs, paired by test example: [2], or [2, cells] for [n, cells].

    Raises ValueError where the two are not of the same examples.
    """
    return mean_interval(_paired(ours, theirs), level, resamples, seed)


def macro_f1_interval(
    gold: ArrayLike, predicted: ArrayLike, classes: int, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> Floats:
    """BCa interval of macro-F1 over test examples: [2], or [2, cells] for predicted [n, cells]."""
    return bca_interval(f1_features(gold, predicted, classes), macro_f1, level, resamples, seed)


def macro_f1_difference_interval(
    gold: ArrayLike,
    ours: ArrayLike,
    theirs: ArrayLike,
    classes: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: Seed = 0,
) -> Floats:
    """BCa interval of macro-F1 of ours minus that of theirs on the same resampled examples: [2], or [2, cells]."""
    both = np.concatenate([f1_features(gold, answers, classes) for answers in (ours, theirs)], axis=-1)
    return bca_interval(both, difference(macro_f1), level, resamples, seed)


def mean_features(values: ArrayLike) -> Floats:
    """What examples add to ``mean``: [..., 2], the value and 1."""
    x = np.asarray(values, dtype=np.float64)
    return np.stack([x, np.ones_like(x)], axis=-1)


def mean(sums: Floats) -> Floats:
    """sums: [..., 2] of values and of examples -> [...]."""
    return sums[..., 0] / sums[..., 1]


def f1_features(gold: ArrayLike, predicted: ArrayLike, classes: int) -> Floats:
    """What each example adds to ``macro_f1``, [n, ..., 3 classes]: right answers, answers and gold labels by class.

    gold: [n]; predicted: [n, ...]; labels 0 to classes - 1. Raises ValueError for others, or other numbers of examples.
    """
    labels, answers = np.asarray(gold), np.asarray(predicted)
    if labels.ndim != 1 or answers.shape[:1] != labels.shape:
        raise ValueError(f"gold labels [n] and predictions [n, ...] are needed, not {labels.shape} and {answers.shape}")
    if not (np.isin(labels, range(classes)).all() and np.isin(answers, range(classes)).all()):
        raise ValueError(f"labels from 0 to {classes - 1} are needed: there is {max(labels.max(), answers.max())}")
    identity = np.eye(classes)
    of_answers = identity[answers]
    of_labels = np.broadcast_to(
        identity[labels].reshape(len(labels), *[1] * (answers.ndim - 1), classes), of_answers.shape
    )
    return np.concatenate([of_labels * of_answers, of_answers, of_labels], axis=-1)


def macro_f1(sums: Floats) -> Floats:
    """Mean over the classes of 2 right / (answers + gold), 0 where there are neither: [..., 3 classes] -> [...].

    As adapt's own score, it averages over all labels of the training data, whether or not a resample holds them.
    """
    right, answers, gold = np.split(sums, 3, axis=-1)
    return np.mean(2 * right / np.maximum(answers + gold, 1), axis=-1)


def difference(of_sums: OfSums) -> OfSums:
    """The difference of a statistic between two runs whose sums lie side by side, [..., 2 k]."""

    def of_both(sums: Floats) -> Floats:
        ours, theirs = np.split(sums, 2, axis=-1)
        return of_sums(ours) - of_sums(theirs)

    return of_both


def mcnemar_p(ours: ArrayLike, theirs: ArrayLike, mid_p: bool = False) -> float:
    """Two-sided p of McNemar's exact test that two runs are as often right on the same examples.

    ours, theirs: [n], whether each answer is right. Of the examples that one alone gets right, the number b of ours is
    binomial(b + c, 1/2) (McNemar, 1947, in its exact form): p = min(1, 2 P(B <= min(b, c))). mid_p counts only half of
    P(B = min(b, c)) on each side, which is less conservative (Fagerland, Lydersen and Laake, 2013). Raises ValueError
    for what is not 0 or 1, or not of the same examples.
    """
    d = _paired(ours, theirs)
    if d.ndim != 1 or not (np.isin(ours, (0, 1)).all() and np.isin(theirs, (0, 1)).all()):
        raise ValueError("two vectors of 0 (wrong) and 1 (right) are needed")
    n, few = int((d != 0).sum()), int(min((d > 0).sum(), (d < 0).sum()))
    p = 2 * float(bdtr(few, n, 0.5))
    return min(1.0, p - math.comb(n, few) / 2**n if mid_p else p)


def _paired(ours: ArrayLike, theirs: ArrayLike) -> Floats:
    one, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if one.shape != other.shape:
        raise ValueError(f"the same examples are needed on both sides, not {one.shape} and {other.shape}")
    return one - other
