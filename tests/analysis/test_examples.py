"""Macro-F1 over resampled examples against sklearn's, and McNemar's test by hand and against scipy's binomial test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from sklearn.metrics import f1_score

from analysis.stats import bootstrap, examples


def sklearns(gold, predicted, classes):
    return f1_score(gold, predicted, average="macro", zero_division=0.0)


def test_macro_f1_by_hand():
    # class 0: 1 right of 2 answers and 1 gold: 2/3; class 1: 1 of 1 and 2: 2/3; class 2 is in neither
    features = examples.f1_features([0, 1, 1], [0, 1, 0], classes=3)
    assert features.sum(axis=0).tolist() == [1, 1, 0, 2, 1, 0, 1, 2, 0]
    assert examples.macro_f1(features.sum(axis=0)) == pytest.approx(2 / 3)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30))
def test_macro_f1_is_sklearns(pairs):
    gold, predicted = np.array(pairs).T
    sums = examples.f1_features(gold, predicted, 4).sum(axis=0)
    assert examples.macro_f1(sums) == pytest.approx(sklearns(gold, predicted, 4))


def f1(gold, predicted, c):
    return 2 * ((gold == c) & (predicted == c)).sum() / max(1, (gold == c).sum() + (predicted == c).sum())


def answers(seed=0, n=80, classes=5, right=0.7):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, classes, n)
    other = rng.integers(0, classes, (n, 2))
    return gold, np.where(rng.random((n, 2)) < right, gold[:, None], other)


def test_resampled_macro_f1_is_that_of_the_resampled_examples():
    gold, predicted = answers()
    result = bootstrap.replicates(examples.f1_features(gold, predicted, 5), examples.macro_f1, 20, seed=9)
    (counts,) = bootstrap.draws(80, 20, 80, seed=9)
    for row, weights in zip(result, counts.astype(int), strict=True):
        drawn = np.repeat(np.arange(80), weights)
        assert row == pytest.approx([sklearns(gold[drawn], predicted[drawn, cell], 5) for cell in (0, 1)])


def test_macro_f1_interval_agrees_with_scipys():
    gold, predicted = answers()

    def statistic(of, a, b):
        right_a, right_b = (np.array([f1(of, of_run, c) for c in range(5)]) for of_run in (a, b))
        return right_a.mean() - right_b.mean()

    theirs = reference.bootstrap(
        (gold, *predicted.T), statistic, paired=True, vectorized=False, n_resamples=150, method="BCa", rng=1
    ).confidence_interval
    result = examples.macro_f1_difference_interval(gold, *predicted.T, classes=5)
    assert result == pytest.approx(list(theirs), abs=0.06)  # width .25, and 150 resamples are few
    score, of_both = sklearns(gold, predicted[:, 0], 5), examples.macro_f1_interval(gold, predicted, 5)
    assert of_both.shape == (2, 2) and of_both[0, 0] < score < of_both[1, 0]


@pytest.mark.parametrize("gold, predicted", [([0, 1], [0, 2]), ([0, -1], [0, 0]), ([0, 1], [0]), ([[0]], [[0]])])
def test_labels_that_are_not_of_the_task_are_refused(gold, predicted):
    with pytest.raises(ValueError, match="needed"):
        examples.f1_features(gold, predicted, 2)


def right(both, ours, theirs, none):
    """Two vectors of right and wrong with so many examples of each kind."""
    return [1] * (both + ours) + [0] * (theirs + none), [1] * both + [0] * ours + [1] * theirs + [0] * none


def test_mcnemar_by_hand():
    # 1 against 5: 2 (C(6,0) + C(6,1)) / 64 = 14/64; the mid-p takes C(6,1) / 64 once instead of twice: 8/64
    assert examples.mcnemar_p(*right(40, 1, 5, 10)) == pytest.approx(14 / 64)
    assert examples.mcnemar_p(*right(40, 1, 5, 10), mid_p=True) == pytest.approx(8 / 64)
    assert examples.mcnemar_p(*right(40, 0, 6, 0)) == pytest.approx(2 / 64)
    assert examples.mcnemar_p(*right(40, 3, 3, 0)) == 1
    assert examples.mcnemar_p(*right(40, 3, 3, 0), mid_p=True) == pytest.approx(1)
    assert examples.mcnemar_p(*right(40, 0, 0, 9)) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5))
def test_mcnemar_is_the_binomial_test_of_the_discordant(b, c, both):
    ours, theirs = right(both, b, c, 1)
    expected = reference.binomtest(b, b + c).pvalue if b + c else 1.0
    assert examples.mcnemar_p(ours, theirs) == pytest.approx(expected)
    assert examples.mcnemar_p(theirs, ours) == examples.mcnemar_p(ours, theirs)
    assert examples.mcnemar_p(ours, theirs, mid_p=True) <= examples.mcnemar_p(ours, theirs)


@pytest.mark.parametrize("ours, theirs", [([0.5, 1], [0, 1]), ([1], [1, 0]), ([[1]], [[0]]), ([math.nan], [1])])
def test_mcnemar_refuses_what_is_not_right_or_wrong(ours, theirs):
    with pytest.raises(ValueError, match="needed"):
        examples.mcnemar_p(ours, theirs)
