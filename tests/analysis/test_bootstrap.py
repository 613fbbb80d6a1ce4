"""BCa and the crossed bootstrap: by hand, against scipy's own BCa of the same resamples, and by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from scipy.special import ndtr

from analysis.stats import bootstrap, examples, seeds_and_examples

RESULT = reference.bootstrap(([1.0, 2.0],), np.mean, n_resamples=2, vectorized=True)  # a shape to fill


def scipys_bca(values, drawn, level=0.95):
    """scipy's BCa ends of a mean for given resampled means."""
    RESULT.bootstrap_distribution = drawn
    result = reference.bootstrap(
        (values,), np.mean, n_resamples=0, bootstrap_result=RESULT, confidence_level=level, method="BCa", axis=0
    )
    return result.confidence_interval.low, result.confidence_interval.high


def test_acceleration_by_hand():
    # of 0, 0, 3: means without one are 1.5, 1.5, 0; d = -.5, -.5, 1; sum d^3 = .75, sum d^2 = 1.5
    assert bootstrap.acceleration(np.array([1.5, 1.5, 0.0])) == pytest.approx(0.75 / (6 * 1.5**1.5))
    assert bootstrap.acceleration(np.array([1.0, 2.0, 3.0])) == 0  # symmetric
    assert math.isnan(bootstrap.acceleration(np.array([0.3, 0.3, 0.3])))


def test_bias_correction_by_hand():
    # 3 below and 1 above of 4: Phi(z0) = .75; of .1 + .2 and .3, equal on paper, each counts half
    assert ndtr(bootstrap.bias_correction(np.array([0.0, 0.1, 0.2, 0.9]), 0.5)) == pytest.approx(0.75)
    assert bootstrap.bias_correction(np.array([0.1 + 0.2, 0.3]), 0.3) == 0
    assert bootstrap.bias_correction(np.array([1.0, 2.0]), 0.5) == -math.inf


def test_no_skew_and_no_bias_leave_the_percentile_interval():
    values = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
    drawn = bootstrap.replicates(examples.mean_features(values), examples.mean, 4000)
    drawn = np.concatenate([drawn, -drawn])  # so that the median is the mean
    assert bootstrap.bias_correction(drawn, 0.0) == pytest.approx(0, abs=1e-12)
    assert scipys_bca(values, drawn) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(-64, 64).map(lambda i: i / 64), min_size=5, max_size=40).filter(lambda x: len(set(x)) > 2),
    st.sampled_from([0.5, 0.9, 0.95]),
)
def test_bca_is_scipys_for_the_same_resamples(values, level):
    drawn = bootstrap.replicates(examples.mean_features(values), examples.mean, 500, 3)
    result = examples.mean_interval(values, level, 500, 3)
    assert result == pytest.approx(scipys_bca(np.array(values), drawn, level), nan_ok=True)


def test_bca_agrees_with_scipys_own_resamples():
    values = np.random.default_rng(5).exponential(size=60)
    theirs = reference.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1))
    low, high = theirs.confidence_interval
    assert examples.mean_interval(values, resamples=20_000) == pytest.approx([low, high], abs=0.01)  # width .5
    assert (low + high) / 2 > values.mean() + 0.01  # the skew that a t interval does not see


def test_the_difference_is_of_pairs():
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=200)
    ours = theirs + 0.1 + 0.01 * rng.normal(size=200)
    low, high = examples.difference_interval(ours, theirs)
    assert 0.095 < low < high < 0.105  # unpaired it would be .4 wide
    with pytest.raises(ValueError, match="same examples"):
        examples.difference_interval(ours[:-1], theirs)


def test_cells_are_as_if_alone_and_the_same_seed_gives_the_same_bytes(monkeypatch):
    values = np.random.default_rng(2).normal(size=(50, 3))
    together = examples.mean_interval(values, resamples=999, seed=7)
    alone = [examples.mean_interval(column, resamples=999, seed=7) for column in values.T]
    assert together.shape == (2, 3) and np.allclose(together.T, alone, rtol=0, atol=1e-12)
    assert together.tobytes() == examples.mean_interval(values, resamples=999, seed=7).tobytes()
    assert together.tobytes() == examples.mean_interval(values, resamples=999, seed=np.random.default_rng(7)).tobytes()
    assert together.tobytes() != examples.mean_interval(values, resamples=999, seed=8).tobytes()
    monkeypatch.setattr(bootstrap, "BLOCK", 1000)  # 20 rows at a time
    assert [len(block) for block in bootstrap.draws(50, 45, 50, 0)] == [20, 20, 5]
    assert examples.mean_interval(values, resamples=999, seed=7) == pytest.approx(together, abs=0.1)


def test_a_draw_is_of_n_with_equal_chances():
    counts = np.concatenate(list(bootstrap.draws(7, 20_000, 7, 0)))
    assert counts.shape == (20_000, 7) and (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.03)
    assert counts.var(axis=0) == pytest.approx(6 / 7, abs=0.04)  # binomial(7, 1/7)


@pytest.mark.parametrize("values", [[0.1] * 20, [1.0] * 20])
def test_examples_that_are_all_the_same_have_no_interval(values):
    assert np.isnan(examples.mean_interval(values, resamples=100)).all()


@pytest.mark.parametrize("features", [[[1.0, 1.0]], [1.0, 2.0], [[1.0], [math.nan]]])
def test_what_is_no_sample_of_examples_is_refused(features):
    with pytest.raises(ValueError, match="2 examples or more are needed"):
        bootstrap.bca_interval(features, lambda sums: sums[..., 0])


D = np.array([[0.0, 2.0, 3.0], [4.0, 10.0, 1.0]])  # [seeds, examples]


def test_crossed_resamples_are_those_of_enumerated_draws():
    every = [
        D[np.ix_(seeds, of)].mean()
        for seeds in itertools.product(range(2), repeat=2)
        for of in itertools.product(range(3), repeat=3)
    ]
    drawn = seeds_and_examples.crossed_replicates(examples.mean_features(D), examples.mean, 40_000)
    assert drawn.mean() == pytest.approx(np.mean(every), abs=0.03)
    assert drawn.var() == pytest.approx(np.var(every), rel=0.03)
    assert set(drawn.round(9)) <= set(np.round(every, 9))
    gaps = [np.mean(drawn <= x + 1e-9) - np.mean(every <= x + 1e-9) for x in every]
    assert np.abs(gaps).max() < 0.01


def test_the_crossed_interval_sees_either_source():
    rng = np.random.default_rng(3)
    of_seed, of_example = rng.normal(0, 1, (12, 1)), rng.normal(0, 1, (1, 300))
    zero = np.zeros((12, 300))
    for d, sd, n in ((of_seed + zero, of_seed.std(), 12), (of_example + zero, of_example.std(), 300)):
        low, high = seeds_and_examples.crossed_difference_interval(d, zero)
        assert high - low == pytest.approx(2 * 1.96 * sd / math.sqrt(n), rel=0.05)
    both = seeds_and_examples.crossed_difference_interval(of_seed + of_example, zero)
    variance = of_seed.var() / 12 + of_example.var() / 300
    assert both[1] - both[0] == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.05)


def test_the_crossed_interval_repeats_and_refuses_what_is_not_crossed():
    zero = np.zeros_like(D)
    assert seeds_and_examples.crossed_difference_interval(D, zero, resamples=99, seed=4) == (
        seeds_and_examples.crossed_difference_interval(D, zero, resamples=99, seed=np.random.default_rng(4))
    )
    with pytest.raises(ValueError, match="same seeds and examples"):
        seeds_and_examples.crossed_difference_interval(D, zero[:, :2])
    with pytest.raises(ValueError, match="2 examples or more"):
        seeds_and_examples.crossed_difference_interval(D[:1], zero[:1])
    with pytest.raises(ValueError, match="features .seeds, examples, sums."):
        seeds_and_examples.crossed_interval(D, examples.mean)
