"""Published and hand-computed powers, and what must hold for every effect, number of pairs and level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from analysis.power import CLOSE, attainable_level, power, seeds_needed, sign_flip_power
from analysis.stats import paired

effects = st.floats(0.05, 4)
pairs = st.integers(2, 60)
levels = st.sampled_from([0.01, 0.05, 0.1])


@pytest.mark.parametrize(
    "effect, n, expected",
    # G*Power 3.1, "means: difference between two dependent means (matched pairs)", two tails, alpha .05
    [(1.0, 10, 0.8031), (0.5, 10, 0.2932), (0.5, 34, 0.8078), (0.2, 199, 0.8017)],
)
def test_published_powers_of_the_t_test(effect, n, expected):
    assert power(effect, n) == pytest.approx(expected, abs=5e-5)


def test_power_of_two_pairs_by_integration():
    # T^2 with 1 degree of freedom: P(|Z + k| > t |W|), Z and W standard normal, k = d sqrt(2), t = 12.7062; over W
    w = np.linspace(-8, 8, 200_001)
    k, t = 1.5 * np.sqrt(2), 12.706204736
    beyond = norm.sf(t * np.abs(w) - k) + norm.cdf(-t * np.abs(w) - k)
    assert power(1.5, 2) == pytest.approx(np.trapezoid(beyond * norm.pdf(w), w), abs=1e-6)


@given(pairs, levels)
def test_without_an_effect_power_is_the_level(n, level):
    for effect in (0, 1e-200, 1e-12, 1e-6):
        assert power(effect, n, level) == pytest.approx(level, abs=1e-9)


@given(effects, pairs, levels)
def test_power_has_no_sign_and_grows_with_effect_pairs_and_level(effect, n, level):
    here = power(effect, n, level)
    assert 0 <= here <= 1 and here == power(-effect, n, level)  # never NaN
    assert here <= power(1.1 * effect, n, level) + 1e-9
    assert here <= power(effect, n + 1, level) + 1e-9
    assert here <= power(effect, n, 1.1 * level) + 1e-9


@pytest.mark.parametrize(
    "n, level, expected",
    [(5, 0.05, 0), (6, 0.05, 2 / 64), (7, 0.05, 6 / 128), (10, 0.05, 50 / 1024), (3, 0.25, 0.25), (3, 1 / 3, 0.25)],
)
def test_attainable_level_by_hand(n, level, expected):
    assert attainable_level(n, level) == expected


@pytest.mark.parametrize("effect", [0.5, 1.0, 1.5])
def test_six_pairs_reject_where_all_have_one_sign(effect):
    expected = norm.cdf(effect) ** 6 + norm.cdf(-effect) ** 6
    assert sign_flip_power(effect, 6) == pytest.approx(expected, abs=0.009)  # 3.5 standard errors


@pytest.mark.parametrize("n, low, high", [(6, 0.13, 0.19), (8, 0.01, 0.05), (CLOSE, -0.01, 0.02)])
def test_the_exact_test_has_less_power_than_the_t_test_and_soon_as_much(n, low, high):
    assert low < power(1.0, n) - sign_flip_power(1.0, n, studies=5_000) < high


def test_simulated_power_repeats_and_follows_its_seed():
    first = sign_flip_power(1.0, 7, studies=500, seed=3)
    sign_flip_power.cache_clear()
    assert sign_flip_power(1.0, 7, studies=500, seed=3) == first
    assert sign_flip_power(1.0, 7, studies=500, seed=4) != first


@pytest.mark.parametrize(
    "effect, wanted, expected",
    # by the t test 34 (G*Power) and 199; at 1 sd the t test needs 10 seeds (.8031), of which the exact test gives .793;
    # at 1.5 sd it needs 6 (.8325), of which the exact test gives Phi(1.5)^6 = .660
    [(0.5, 0.8, 34), (0.2, 0.8, 199), (1.0, 0.8, 11), (1.5, 0.8, 7), (100.0, 0.8, 6), (100.0, 0.01, 6)],
)
def test_seeds_needed(effect, wanted, expected):
    assert seeds_needed(effect, wanted) == expected


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 0.75), st.sampled_from([0.5, 0.8, 0.9]), st.sampled_from([0.01, 0.05]))
def test_seeds_needed_are_enough_and_one_less_is_not(effect, wanted, level):
    n = seeds_needed(effect, wanted, level)
    assert power(effect, n, level) >= wanted and paired.smallest_p(n) <= level
    if n < CLOSE:
        assert sign_flip_power(effect, n, level) >= wanted
    if n > CLOSE:
        assert power(effect, n - 1, level) < wanted


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: power(1, 1), "1 pairs: 2 or more"),
        (lambda: power(1, 10, 1.0), "level 1: must lie between 0 and 1"),
        (lambda: power(float("nan"), 10), "effect nan: must be a finite number"),
        (lambda: sign_flip_power(1, 17), "17 pairs: simulated only for up to 16 pairs"),
        (lambda: seeds_needed(0), "effect 0: 10,000,000 seeds do not detect it with a power of 0.8"),
        (lambda: seeds_needed(1e-5), "effect 1e-05: 10,000,000 seeds do not detect it"),
        (lambda: seeds_needed(1, 1), "power 1: must lie between 0 and 1"),
        (lambda: seeds_needed(1, level=1e-5), "level 1e-05: too small for an exact test of 16 pairs"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        call()
