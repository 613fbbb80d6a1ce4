"""Intervals of scores, and McNemar's test, from the predictions of one or two runs on the same test examples.

Everything here is conditional on the trained models: examples are the only source of chance. For seeds see
analysis.stats.paired, for both analysis.stats.seeds_and_examples.
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

    values: one per example, such as 1 for a right prediction and 0 for a wrong one. Otherwise as bca_interval.
    """
    return bca_interval(mean_features(values), mean, level, resamples, seed)


def difference_interval(
    ours: ArrayLike, theirs: ArrayLike, level: float = 0.95, resamples: int = RESAMPLES, seed: Seed = 0
) -> Floats:
    """BCa interval of the mean of ours - theirs, paired by test example: [2], or [2, cells] for [n, cells].

    Raises ValueError if the two have different shapes.
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
    """What each example adds to the sums of ``mean``: its value and 1, [..., 2]."""
    x = np.asarray(values, dtype=np.float64)
    return np.stack([x, np.ones_like(x)], axis=-1)


def mean(sums: Floats) -> Floats:
    """The mean from sums [..., 2] of values and of examples: [...]."""
    return sums[..., 0] / sums[..., 1]


def f1_features(gold: ArrayLike, predicted: ArrayLike, classes: int) -> Floats:
    """What each example adds to the sums of ``macro_f1``, [n, ..., 3 classes]: hits, predictions, gold labels by class.

    gold: [n]; predicted: [n, ...]; labels 0 to classes - 1. Raises ValueError for other labels or shapes.
    """
    labels, guesses = np.asarray(gold), np.asarray(predicted)
    if labels.ndim != 1 or guesses.shape[:1] != labels.shape:
        raise ValueError(f"gold labels [n] and predictions [n, ...] are needed, not {labels.shape} and {guesses.shape}")
    if not (np.isin(labels, range(classes)).all() and np.isin(guesses, range(classes)).all()):
        raise ValueError(f"labels from 0 to {classes - 1} are needed: there is {max(labels.max(), guesses.max())}")
    one_hot = np.eye(classes)
    of_guesses = one_hot[guesses]
    of_labels = np.broadcast_to(
        one_hot[labels].reshape(len(labels), *[1] * (guesses.ndim - 1), classes), of_guesses.shape
    )
    return np.concatenate([of_labels * of_guesses, of_guesses, of_labels], axis=-1)


def macro_f1(sums: Floats) -> Floats:
    """Mean of 2 hits / (predictions + gold) over the classes that have either: [..., 3 classes] -> [...].

    Like adapt's own score, it leaves out classes that the examples, here of a resample, lack.
    """
    hits, predictions, gold = np.split(sums, 3, axis=-1)
    both = predictions + gold
    return np.sum(2 * hits / np.maximum(both, 1), axis=-1) / np.sum(both > 0, axis=-1)


def difference(of_sums: OfSums) -> OfSums:
    """The difference of a statistic between two runs, as a function of their concatenated sums [..., 2 k]."""

    def of_both(sums: Floats) -> Floats:
        ours, theirs = np.split(sums, 2, axis=-1)
        return of_sums(ours) - of_sums(theirs)

    return of_both


def mcnemar_p(ours: ArrayLike, theirs: ArrayLike, mid_p: bool = False) -> float:
    """Two-sided p of McNemar's exact test that two runs are right equally often on the same examples.

    ours, theirs: [n], whether each prediction is right. Let b examples be right only in ours, and c only in theirs:
    then b is binomial(b + c, 1/2) (McNemar, 1947, in its exact form), and p = min(1, 2 P(B <= min(b, c))). mid_p counts
    only half of P(B = min(b, c)) on each side, which is less conservative (Fagerland, Lydersen and Laake, 2013). Raises
    ValueError for values other than 0 and 1, and for different numbers of examples.
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
