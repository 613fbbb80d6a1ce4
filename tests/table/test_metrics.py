"""Metrics by hand; that of spans is in tests/data/test_tagging.py."""

import pytest

from adapt.table import metrics

GOLD, PREDICTED = [0, 0, 1, 1], [0, 1, 1, 1]
# Label 0: precision 1, recall 1/2, F1 2/3. Label 1: precision 2/3, recall 1, F1 4/5.
BY_HAND = {"accuracy": 3 / 4, "micro_f1": 3 / 4, "macro_f1": (2 / 3 + 4 / 5) / 2}


@pytest.mark.parametrize("name", metrics.of_kind("classification"))
def test_a_score_by_hand(name: str) -> None:
    assert metrics.score(name, GOLD, PREDICTED, 2) == pytest.approx(BY_HAND[name])


def test_a_label_that_no_example_has_counts_nothing_right() -> None:
    assert metrics.score("macro_f1", GOLD, PREDICTED, 3) == pytest.approx((2 / 3 + 4 / 5) / 3)


def test_spans_are_right_in_place_and_type() -> None:
    gold, predicted = [[(0, 2, "A"), (3, 4, "B")], []], [[(0, 2, "A"), (3, 4, "A")], [(0, 1, "B")]]
    assert metrics.score("span_f1", gold, predicted, 5) == pytest.approx(2 * 1 / (2 + 3))
