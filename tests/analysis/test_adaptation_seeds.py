"""The adaptation as the unit: by hand, and that variance components are found where they were planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.stats.adaptation_seeds import by_adaptation, variance_components


def test_seeds_of_an_adaptation_are_averaged_first():
    # means 1, 3, 5 of 3, 1 and 2 seeds; 3 units: the smallest p is 2/8. t: sd 2, t_2(.975) = 4.302653
    estimate = by_adaptation([0, 1, 2, 3, 4, 6], list("aaabcc"))
    assert (estimate.n, estimate.mean, estimate.p, estimate.means.tolist()) == (3, 3, 0.25, [1, 3, 5])
    assert estimate.interval == pytest.approx(
        (3 - 4.302653 * 2 / math.sqrt(3), 3 + 4.302653 * 2 / math.sqrt(3)), abs=1e-5
    )


def test_variance_components_by_hand():
    # groups (1, 3), (5, 7), (12, 14): means 2, 6, 13, grand 7; MSB = 2 (25 + 1 + 36) / 2 = 62; MSW = 6 / 3 = 2
    assert variance_components([1, 3, 5, 7, 12, 14], list("aabbcc")) == ((62 - 2) / 2, 2)
    # groups (0, 2), (4): grand 2; MSB = 2 + 4 = 6; MSW = 2; n0 = 3 - 5/3 = 4/3
    assert variance_components([0, 2, 4], [0, 0, 1]) == pytest.approx((4 / (4 / 3), 2))


def test_a_negative_estimate_is_0_and_said_so():
    estimate = by_adaptation([0, 2, 0, 2], list("aabb"))  # equal means: MSB = 0, MSW = 2
    assert variance_components([0, 2, 0, 2], list("aabb")) == (-1, 2)
    assert (estimate.between, estimate.within, estimate.negative) == (0, 2, True) and "below 0" in estimate.in_words()
    assert "below 0" not in by_adaptation([0, 2, 10, 12], list("aabb")).in_words()


def test_one_adaptation_carries_no_test():
    estimate = by_adaptation([0.1, 0.3], ["a", "a"])
    assert (
        math.isnan(estimate.p)
        and all(math.isnan(end) for end in estimate.interval)
        and estimate.mean == pytest.approx(0.2)
    )
    assert math.isnan(estimate.between) and estimate.within == pytest.approx(0.02) and not estimate.negative
    assert "needs two of them" in estimate.in_words()


def test_one_seed_an_adaptation_is_the_plain_test_without_components():
    estimate = by_adaptation([1, 2, 4], list("cab"))
    assert estimate.p == 2 / 8 and math.isnan(estimate.between) and math.isnan(estimate.within)


def test_planted_components_are_found_and_seeds_do_not_buy_significance():
    rng = np.random.default_rng(0)
    between, within, ps = [], [], []
    for _ in range(300):
        d = rng.normal(0, 2, (6, 1)) + rng.normal(0, 1, (6, 5))
        estimate = by_adaptation(d.ravel(), np.repeat(np.arange(6), 5))
        between.append(variance_components(d.ravel(), np.repeat(np.arange(6), 5))[0])
        within.append(estimate.within)
        ps.append(estimate.p)
    assert np.mean(between) == pytest.approx(4, rel=0.1) and np.mean(within) == pytest.approx(1, rel=0.1)
    assert np.mean(np.array(ps) <= 0.05) < 0.06  # with seeds as units it would be about .4


def test_labels_are_needed_for_all():
    with pytest.raises(ValueError, match="one adaptation for each of 2"):
        by_adaptation([0.1, 0.2], ["a"])
