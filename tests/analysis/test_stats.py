"""Hand-computed values, an independent reference (scipy.stats), and the properties that make an interval one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from analysis.stats import paired

# Multiples of 1/1024 add without rounding, so that the properties hold exactly.
numbers = st.integers(-2048, 2048).map(lambda i: i / 1024)
samples = st.lists(numbers, min_size=2, max_size=9)


def test_sign_flip_by_hand():
    # sums over the 8 sign vectors of (1, 2, 4): +-7 +-5 +-3 +-1
    assert paired.sign_flip_p([1, 2, 4]) == 2 / 8
    assert paired.sign_flip_p([-1, 2, 4]) == 4 / 8
    assert paired.sign_flip_p([1, 2, -4]) == 1.0
    assert paired.sign_flip_p([3, 3, -3]) == 1.0
    assert paired.sign_flip_p([0, 0, 0, 0]) == 1.0
    assert paired.sign_flip_p([5]) == 1.0


@pytest.mark.parametrize("pairs, p", [(3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_smallest_p(pairs, p):
    assert paired.sign_flip_p(np.linspace(0.1, 0.7, pairs)) == p == paired.smallest_p(pairs)


def test_equal_sums_count_in_floating_point():
    # .1 + .2 - .3 is 5.6e-17 in floating point and zero on paper, so all 8 sums are at least as large
    assert paired.sign_flip_p([0.1, 0.2, -0.3]) == 1.0


@given(samples)
def test_sign_flip_agrees_with_scipy(d):
    exact = reference.permutation_test((np.array(d),), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert paired.sign_flip_p(d) == pytest.approx(exact.pvalue)


@given(samples, st.floats(0.1, 10), st.randoms())
def test_p_ignores_sign_scale_and_order(d, scale, random):
    shuffled = random.sample(d, len(d))
    assert paired.sign_flip_p(d) == paired.sign_flip_p([-scale * x for x in shuffled])


def test_sign_flip_beyond_enumeration_is_close_to_t_and_repeats():
    d = np.random.default_rng(1).normal(0.4, 1, size=40)
    assert paired.sign_flip_p(d) == paired.sign_flip_p(d)
    assert paired.sign_flip_p(d) == pytest.approx(reference.ttest_1samp(d, 0).pvalue, abs=0.01)
    assert paired.sign_flip_interval(d) == pytest.approx(paired.t_interval(d), abs=0.05)
    assert paired.sign_flip_p(d + 100) == paired.smallest_p(40)


def test_sign_flip_interval_by_hand():
    # 6 pairs: floor(64 * .025) = 1, the extreme subset means, which are the extreme differences
    assert paired.sign_flip_interval([6, 1, 3, 2, 5, 4]) == (1, 6)
    # 3 pairs at 50%: k = floor(8 / 4) = 2; subset means of (0, 3, 9): 0, 1.5, 3, 4, 4.5, 6, 9
    assert paired.sign_flip_interval([3, 0, 9], level=0.5) == (1.5, 6)
    # 7 pairs: floor(128 * .025) = 3; the smallest subset means of 0..6 are 0, .5 of {0 1}, then 1 of {1} and others
    assert paired.sign_flip_interval(range(7)) == (1, 5)
    assert paired.sign_flip_interval([1, 2, 3, 4, 5]) == (-math.inf, math.inf)


@given(st.lists(numbers, min_size=6, max_size=9), numbers)
def test_interval_holds_what_the_test_does_not_reject(d, shift):
    low, high = paired.sign_flip_interval(d)
    p = paired.sign_flip_p(np.array(d) - shift)
    if p > 0.05:
        assert low <= shift <= high
    if not low <= shift <= high:
        assert p <= 0.05


def test_t_interval_by_hand():
    # mean 3, sd sqrt(2.5), n 5, t_4(.975) = 2.776445: half-width 2.776445 * sqrt(.5) = 1.963243
    assert paired.t_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 1.963243, 3 + 1.963243), abs=1e-6)
    assert all(math.isnan(end) for end in paired.t_interval([1.0]))


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")
@given(samples, st.sampled_from([0.5, 0.9, 0.95]))
def test_t_interval_agrees_with_scipy(x, level):
    low, high = paired.t_interval(x, level)
    expected = reference.ttest_1samp(x, 0).confidence_interval(level)
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, then the running maximum
    assert paired.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert paired.holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert paired.holm([0.01, math.nan, 0.03]) == pytest.approx([0.02, math.nan, 0.03], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(p):
    adjusted = paired.holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, len(p) * np.array(p))).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0, 2.0]]])
def test_what_is_no_sample_is_refused(values):
    with pytest.raises(ValueError, match="non-empty vector of finite numbers"):
        paired.sign_flip_p(values)
