"""The expected best of k trials: by hand, by enumeration of subsets, and of draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.tuning import expected_best, expected_best_with_replacement

scores = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def test_three_trials_by_hand():
    # pairs of 1, 2, 4: best 2, 4, 4. With replacement, of 9 pairs: best 1 once, 2 three times, 4 five times
    assert expected_best([4, 1, 2]) == pytest.approx([7 / 3, 10 / 3, 4])
    assert expected_best_with_replacement([4, 1, 2]) == pytest.approx([7 / 3, 27 / 9, (1 + 7 * 2 + 19 * 4) / 27])


@given(scores)
def test_it_is_the_mean_over_all_subsets_and_over_all_draws(x):
    subsets = [np.mean([max(some) for some in itertools.combinations(x, k)]) for k in range(1, len(x) + 1)]
    assert expected_best(x) == pytest.approx(subsets)
    draws = [np.mean([max(some) for some in itertools.product(x, repeat=k)]) for k in range(1, min(len(x), 5) + 1)]
    assert expected_best_with_replacement(x)[:5] == pytest.approx(draws)


@given(scores)
def test_more_trials_are_never_worse_and_replacement_never_better(x):
    without, with_ = expected_best(x), expected_best_with_replacement(x)
    assert (np.diff(without) >= -1e-12).all() and (np.diff(with_) >= -1e-12).all()
    assert (without >= with_ - 1e-12).all() and without[-1] == pytest.approx(max(x))


def test_many_trials_do_not_overflow():
    x = np.random.default_rng(0).random(500)
    result = expected_best(x)
    assert np.isfinite(result).all() and result[99] == pytest.approx(100 / 101, abs=0.01)  # of a uniform: k / (k + 1)


def test_what_is_no_sample_is_refused():
    with pytest.raises(ValueError, match="non-empty vector"):
        expected_best([])


def test_a_thousand_trials_overflow_nothing():
    curve = expected_best(np.linspace(0, 1, 1500))
    assert np.isfinite(curve).all() and (np.diff(curve) > 0).all() and curve[[0, -1]] == pytest.approx([0.5, 1])
