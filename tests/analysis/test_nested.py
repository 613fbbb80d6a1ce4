"""Nested adaptation seeds: the rate of wrong verdicts, through the rule and through the tables."""

from __future__ import annotations

import numpy as np
import pytest
from frames import runs

from analysis import nesting
from analysis.calibration import nested
from analysis.comparisons import LEVEL


def test_tables_call_a_method_different_from_itself_in_no_more_than_5_percent():
    rates = nested.measured(4000)
    assert (rates["low"] <= LEVEL).all()
    assert (rates.loc[rates["adaptations"] < 6, "called"] == 0).all()
    bad = rates[(rates["each"] > 1) & (rates["spread"] == 2)]
    assert (bad["by_seeds"] > 0.3).all()  # what counting seeds would do
    assert rates.loc[rates["adaptations"] >= 6, "called"].between(0.02, 0.06).all()


@pytest.mark.parametrize("adaptations, each", [(6, 3), (7, 2), (3, 6)])
def test_the_rule_is_that_of_the_tables(adaptations, each):
    d = nested.drawn(np.random.default_rng(adaptations), (12, adaptations, each), 1.0) + 1.5
    read = [nested.through_the_tables(one) for one in d]
    assert [one.supported for one in read] == nested.verdicts(d).tolist()


def _runs(*given):
    rows = [("dapt", "none", seed, 0.5, {"adaptation": a, "adaptation_seed": s}) for seed, a, s in given]
    return runs(*rows)[nesting.RUNS]


@pytest.mark.parametrize(
    "given, units",
    [
        ([(0, "a", "0"), (1, "b", "1"), (2, "c", "2")], [0, 1, 2]),
        ([(0, "a", "0"), (1, "a", "0"), (2, "b", "1")], [0, 0, 1]),
        ([(0, "a", "0"), (0, "b", "1"), (1, "b", "1"), (2, "c", "2")], [0, 0, 1]),  # joined by a seed on both
        ([(0, "a", "0+0"), (1, "b", "0+1"), (2, "c", "1+2")], [0, 0, 1]),  # one first stage, a second for each
        ([(0, "a", "0"), (1, "b", "1"), (2, "b", "1"), (2, "a", "0")], [0, 0, 0]),
    ],
)
def test_seeds_that_share_an_adaptation_are_one_unit_also_by_way_of_a_third(given, units):
    plain = runs(*[("none", "none", seed, 0.5) for seed in range(3)])[nesting.RUNS]
    adapted = _runs(*given)
    for sides in ((adapted, plain), (plain, adapted)):
        assert nesting.units(*sides).tolist() == units
    assert nesting.units(adapted, adapted).tolist() == [0, 1, 2]  # the same adapted models on both sides
