"""Interquartile mean and probability of improvement: by hand, against scipy, and that tasks are strata."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as reference

from analysis.stats import task_suite

suites = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.integers(-8, 8).map(float))


def test_interquartile_mean_by_hand():
    # 8 scores, 2 cut at either end: (3 + 4 + 5 + 6) / 4, however they lie among seeds and tasks
    assert task_suite.interquartile_mean([[8, 1, 3, 100], [4, -50, 5, 6]]) == 4.5
    assert task_suite.interquartile_mean([[1, 2, 6]]) == 3  # floor(3 / 4) = 0: nothing is cut


def test_probability_of_improvement_by_hand():
    # task 1: of 1, 3 against 2, 0: 1>0, 3>2, 3>0, so 3/4; task 2: 5 = 5 and 5 = 5 each half: 1/2
    assert task_suite.probability_of_improvement([[1, 5], [3, 5]], [[2, 5], [0, 5]]) == (0.75 + 0.5) / 2


@settings(max_examples=25, deadline=None)
@given(suites, st.data())
def test_probability_of_improvement_is_the_u_statistic_and_symmetric(x, data):
    y = data.draw(arrays(np.float64, (3, x.shape[1]), elements=st.integers(-8, 8).map(float)))
    result = task_suite.probability_of_improvement(x, y)
    u = [
        reference.mannwhitneyu(a, b, method="asymptotic").statistic / (len(a) * 3)
        for a, b in zip(x.T, y.T, strict=True)
    ]
    assert result == pytest.approx(np.mean(u))
    assert task_suite.probability_of_improvement(y, x) == pytest.approx(1 - result)


def test_tasks_are_strata():
    # Each task's seeds are equal: no resample of seeds within tasks can change anything; one across tasks would.
    constant = np.tile([0.1, 0.5, 0.9, 0.7], (5, 1))
    assert task_suite.interquartile_mean_interval(constant, resamples=200) == pytest.approx((0.6, 0.6))
    assert task_suite.probability_of_improvement_interval(constant, constant - 0.1, resamples=200) == (1, 1)


def test_intervals_agree_with_an_independent_bootstrap():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.3, 1, (12, 3)), rng.normal(0, 1, (10, 3))
    theirs = reference.bootstrap(  # strata are separate samples
        tuple(x.T), lambda *of: reference.trim_mean(np.concatenate(of, axis=-1), 0.25, axis=-1), method="percentile",
        vectorized=False, n_resamples=600, rng=1,
    ).confidence_interval  # fmt: skip
    assert task_suite.interquartile_mean_interval(x) == pytest.approx(tuple(theirs), abs=0.08)
    drawn = []
    for _ in range(400):
        a, b = (np.stack([rng.choice(task, len(task)) for task in of.T], axis=1) for of in (x, y))
        drawn.append(task_suite.probability_of_improvement(a, b))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert task_suite.probability_of_improvement_interval(x, y) == pytest.approx((low, high), abs=0.04)


def test_the_same_seed_gives_the_same_numbers():
    x = np.random.default_rng(0).normal(size=(5, 3))
    for interval in (
        task_suite.interquartile_mean_interval,
        lambda x, **o: task_suite.probability_of_improvement_interval(x, -x, **o),
    ):
        assert interval(x, resamples=300, seed=1) == interval(x, resamples=300, seed=np.random.default_rng(1))
        assert interval(x, resamples=300, seed=1) != interval(x, resamples=300, seed=2)


def test_other_tasks_and_missing_scores_are_refused():
    with pytest.raises(ValueError, match="same tasks"):
        task_suite.probability_of_improvement([[1, 2]], [[1, 2, 3]])
    with pytest.raises(ValueError, match="equally many seeds for every task"):
        task_suite.interquartile_mean([[1, np.nan]])
