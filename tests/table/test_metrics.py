"""Metrics by hand and against scikit-learn; that of spans is in tests/data/test_tagging.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from adapt.data.kinds.classification import Example
from adapt.data.tasks import Task
from adapt.table import metrics
from adapt.tasks.scores import scores

GOLD, PREDICTED = [0, 0, 1, 1], [0, 1, 1, 1]
# Label 0: precision 1, recall 1/2, F1 2/3. Label 1, of which 0 is the negative: precision 2/3, recall 1, F1 4/5.
# MCC: (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN)) = (2 - 0) / sqrt(3 * 2 * 2 * 1).
BY_HAND = {"accuracy": 3 / 4, "micro_f1": 3 / 4, "macro_f1": (2 / 3 + 4 / 5) / 2, "micro_f1_positive": 4 / 5}
BY_HAND |= {"weighted_f1": (2 / 3 + 4 / 5) / 2, "balanced_accuracy": 3 / 4, "mcc": 2 / 12**0.5}
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=25)


@pytest.mark.parametrize("name", metrics.of_kind("classification"))
def test_a_score_by_hand(name: str) -> None:
    assert metrics.score(name, GOLD, PREDICTED, 2, negative=0) == pytest.approx(BY_HAND[name])


def test_a_label_that_no_example_and_no_answer_has_does_not_count() -> None:
    assert metrics.score("macro_f1", GOLD, PREDICTED, 3) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert metrics.score("macro_f1", [0, 1], [0, 1], 9) == 1
    assert metrics.score("macro_f1", [0, 0], [0, 2], 3) == pytest.approx((2 / 3 + 0) / 2)  # 2 was answered


@settings(max_examples=100, deadline=None)
@given(PAIRS, st.integers(0, 4))
@pytest.mark.filterwarnings("ignore")
def test_scores_are_scikit_learns(pairs: list[tuple[int, int]], negative: int) -> None:
    gold, predicted = (list(side) for side in zip(*pairs, strict=True))
    positive = [label for label in range(5) if label != negative]
    theirs = {
        "accuracy": reference.accuracy_score(gold, predicted),
        "macro_f1": reference.f1_score(gold, predicted, average="macro", zero_division=0.0),
        "micro_f1": reference.f1_score(gold, predicted, average="micro"),
        "micro_f1_positive": reference.f1_score(gold, predicted, labels=positive, average="micro", zero_division=0.0),
        "weighted_f1": reference.f1_score(gold, predicted, average="weighted", zero_division=0.0),
        "balanced_accuracy": reference.balanced_accuracy_score(gold, predicted),
        "mcc": reference.matthews_corrcoef(gold, predicted),
    }
    assert {name: metrics.score(name, gold, predicted, 5, negative) for name in theirs} == pytest.approx(theirs)
    report = reference.classification_report(gold, predicted, output_dict=True, zero_division=0.0)
    assert metrics.f1_by_class(gold, predicted) == pytest.approx(
        {label: report[str(label)]["f1-score"] for label in sorted({*gold, *predicted})}
    )


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.integers(0, 1000))
def test_the_brier_score_is_scikit_learns(pairs: list[tuple[int, int]], seed: int) -> None:
    gold = [label for label, _ in pairs]
    chances = np.random.default_rng(seed).dirichlet(np.ones(5), len(gold))
    theirs = reference.brier_score_loss(gold, chances, labels=list(range(5)), scale_by_half=False)
    assert metrics.brier_score(gold, chances) == pytest.approx(theirs)


def test_calibration_by_hand() -> None:
    # Two answers of confidence .9, one right: |1/2 - .9|. One of .6, right: |1 - .6|. Weighted 2/3 and 1/3.
    chances = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4]])
    assert metrics.expected_calibration_error([0, 0, 0], chances) == pytest.approx(2 / 3 * 0.4 + 1 / 3 * 0.4)
    # (.1^2 + .1^2) + (.9^2 + .9^2) + (.4^2 + .4^2), over 3
    assert metrics.brier_score([0, 0, 0], chances) == pytest.approx((0.02 + 1.62 + 0.32) / 3)
    assert metrics.expected_calibration_error([0, 1], np.eye(2)) == metrics.brier_score([0, 1], np.eye(2)) == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_the_calibration_error_is_the_sum_over_bins(n: int, seed: int) -> None:
    """By the formula, bin by bin; a confidence on an edge belongs to the lower bin."""
    draw = np.random.default_rng(seed)
    chances = draw.dirichlet(np.ones(3), n).round(1)
    chances /= chances.sum(axis=1, keepdims=True)
    gold, confidence = draw.integers(0, 3, n), chances.max(axis=1)
    right, total = chances.argmax(axis=1) == gold, 0.0
    for low in range(metrics.BINS):
        within = (confidence > low / metrics.BINS) & (confidence <= (low + 1) / metrics.BINS)
        if within.any():
            total += within.sum() / n * abs(right[within].mean() - confidence[within].mean())
    assert metrics.expected_calibration_error(gold.tolist(), chances) == pytest.approx(total)


def task(labels: list[str], gold: str, **more: object) -> Task:
    examples = [Example(number, f"text {number}", labels.index(name)) for number, name in enumerate(gold)]
    return Task(labels, "macro_f1", {"test": examples}, **more)


def values(rows: list[dict], split: str = "test") -> dict[str, tuple[float, int]]:
    return {row["metric"]: (row["value"], row["n"]) for row in rows if row["split"] == split}


def test_the_rows_of_a_split() -> None:
    logits = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])
    rows = values(scores("test", task(["a", "b", "c"], "aabb"), logits))
    assert list(rows)[:2] == ["macro_f1", "accuracy"]
    assert rows["classes"] == (2, 4) and rows["f1_a"] == (pytest.approx(2 / 3), 2) and "f1_c" not in rows
    assert rows["ece"] == (pytest.approx(0.05), 4) and "micro_f1_positive" not in rows
    negative = values(scores("test", task(["a", "b", "c"], "aabb", negative="a"), logits))
    assert negative["micro_f1_positive"] == (pytest.approx(4 / 5), 4)


def test_a_clean_part_without_a_class_is_compared_on_equal_classes() -> None:
    """c, which every clean example lacks, is answered wrong: it lowers the mean of the whole, not that beside it."""
    logits = np.eye(3)[[0, 0, 1, 1, 0]]
    rows = scores("test", task(["a", "b", "c"], "aabbc"), logits, clean=[0, 1, 2, 3])
    assert values(rows)["macro_f1"] == (pytest.approx((4 / 5 + 1 + 0) / 3), 5)
    clean = values(rows, "test_clean")
    assert clean["macro_f1"] == (1, 4) and clean["classes"] == (2, 4)
    assert clean["whole_macro_f1"] == (pytest.approx((4 / 5 + 1) / 2), 5)
    assert clean["whole_balanced_accuracy"] == (1, 5)
    same = scores("test", task(["a", "b", "c"], "aabbc"), logits, clean=[0, 2, 4])
    assert not [name for name in values(same, "test_clean") if name.startswith("whole_")]


def test_spans_are_right_in_place_and_type() -> None:
    gold, predicted = [[(0, 2, "A"), (3, 4, "B")], []], [[(0, 2, "A"), (3, 4, "A")], [(0, 1, "B")]]
    assert metrics.score("span_f1", gold, predicted, 5) == pytest.approx(2 * 1 / (2 + 3))
