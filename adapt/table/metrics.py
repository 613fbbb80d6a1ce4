"""The metrics that a task may be measured by, one entry each; all of METRICS are better the higher they are.

CALIBRATION has the errors of probabilities, which are better the lower they are and by which nothing is chosen. No
torch, and scikit-learn only when a score is computed: configs, tables and analysis read the names.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY_NAME = "table.metrics"
VERSION = 2

ACCURACY = "accuracy"
BINS = 15  # of the calibration error
Span = tuple[int, int, str]  # first token, the one after its last, type
ByClass = Callable[[Sequence[int], Sequence[int]], Mapping[int, float]]


@dataclass(frozen=True)
class Metric:
    """title: how a reader writes it. kind: of the tasks that it measures.

    function(gold, predicted, classes, negative): the score of one answer for each example, in their order. Of
    classification an answer is the index of one of ``classes`` labels; of tagging it is the spans of a sentence.
    negative: the index of the task's negative class, None if it has none; needs_negative: whether there must be one.
    by_class(gold, predicted): the values of the classes, if the score is their mean.
    """

    title: str
    kind: str
    function: Callable[[Sequence[Any], Sequence[Any], int, int | None], float]
    needs_negative: bool = False
    by_class: ByClass | None = None


@dataclass(frozen=True)
class Calibration:
    """title: how a reader writes it. function: of gold labels [N] and their probabilities [N, C]."""

    title: str
    function: Callable[[Sequence[int], NDArray[Any]], float]


def accuracy(gold: Sequence[int], predicted: Sequence[int], classes: int, negative: int | None = None) -> float:
    """The share of right answers."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(gold, predicted))


def macro_f1(gold: Sequence[int], predicted: Sequence[int], classes: int, negative: int | None = None) -> float:
    """F1 averaged over the classes that examples have or were answered with, as scikit-learn does by default.

    A class of the training split that occurs in neither has no F1 and does not count.
    """
    return float(np.mean([*f1_by_class(gold, predicted).values()]))


def micro_f1(gold: Sequence[int], predicted: Sequence[int], classes: int, negative: int | None = None) -> float:
    """F1 over all labels together; of a task with one label for each example it equals accuracy."""
    return _f1("micro", gold, predicted, list(range(classes)))


def micro_f1_positive(
    gold: Sequence[int], predicted: Sequence[int], classes: int, negative: int | None = None
) -> float:
    """F1 over all classes but the negative one together (SemEval-2010 task 8, TACRED); 0 if none is right.

    A negative example that is answered with another class is a false positive, the opposite a false negative.
    """
    return _f1("micro", gold, predicted, [label for label in range(classes) if label != negative])


def weighted_f1(gold: Sequence[int], predicted: Sequence[int], classes: int, negative: int | None = None) -> float:
    """F1 averaged over the classes that examples have, each weighted by its number of examples."""
    return _f1("weighted", gold, predicted, sorted({*gold, *predicted}))


def balanced_accuracy(
    gold: Sequence[int], predicted: Sequence[int], classes: int, negative: int | None = None
) -> float:
    """Recall averaged over the classes that examples have (Brodersen et al., 2010)."""
    return float(np.mean([*recall_by_class(gold, predicted).values()]))


def mcc(gold: Sequence[int], predicted: Sequence[int], classes: int, negative: int | None = None) -> float:
    """Matthews' correlation coefficient, -1 to 1 (Gorodkin, 2004, for several classes).

    It is 0 where all gold labels, or all answers, are the same.
    """
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():  # of a single label, which is what the 0 says
        warnings.simplefilter("ignore", UserWarning)
        return float(matthews_corrcoef(gold, predicted))


def f1_by_class(gold: Sequence[int], predicted: Sequence[int]) -> dict[int, float]:
    """F1 of each class that examples have or were answered with."""
    from sklearn.metrics import f1_score

    occurring = sorted({*gold, *predicted})
    values = f1_score(gold, predicted, labels=occurring, average=None, zero_division=0.0)
    return dict(zip(occurring, values.tolist(), strict=True))


def recall_by_class(gold: Sequence[int], predicted: Sequence[int]) -> dict[int, float]:
    """Recall of each class that examples have."""
    from sklearn.metrics import recall_score

    occurring = sorted(set(gold))
    values = recall_score(gold, predicted, labels=occurring, average=None, zero_division=0.0)
    return dict(zip(occurring, values.tolist(), strict=True))


def expected_calibration_error(gold: Sequence[int], probabilities: NDArray[Any]) -> float:
    """ECE: the gap between confidence and accuracy, averaged over BINS bins of equal width (Guo et al., 2017, eq. 3).

    An answer's confidence is the largest of its probabilities; a bin is (low, high] and counts by its share of answers.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(gold)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(right))


def brier_score(gold: Sequence[int], probabilities: NDArray[Any]) -> float:
    """The squared distance of the probabilities from the gold label's 1 and the others' 0, summed over the classes.

    The mean over the examples, 0 to 2 (Brier, 1950, eq. 2).
    """
    true = np.eye(probabilities.shape[1])[np.asarray(gold)]
    return float(np.square(probabilities - true).sum(axis=1).mean())


def _f1(average: str, gold: Sequence[int], predicted: Sequence[int], labels: list[int]) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(gold, predicted, labels=labels, average=average, zero_division=0.0))


@dataclass(frozen=True)
class SpanCounts:
    """How many spans there are, how many were predicted, and how many of those have the right place and type."""

    gold: int
    predicted: int
    right: int

    @property
    def precision(self) -> float:
        """right / predicted; 0 where none was predicted, as conlleval has it."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """right / gold; 0 where there is none."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """2 right / (gold + predicted), the harmonic mean of precision and recall; 0 where both are 0."""
        return 2 * self.right / (self.gold + self.predicted) if self.right else 0.0


def count_spans(gold: Iterable[Iterable[Span]], predicted: Iterable[Iterable[Span]]) -> dict[str, SpanCounts]:
    """The counts over all sentences, of each type that occurs in either and, under "", of all types together (micro).

    A span is right if start, end and type are (Tjong Kim Sang and De Meulder, 2003, section 3.1).
    """
    numbers: dict[str, Counter[str]] = {name: Counter() for name in ("gold", "predicted", "right")}
    for theirs, ours in zip(gold, predicted, strict=True):
        sets = {"gold": set(theirs), "predicted": set(ours)}
        for which, spans in {**sets, "right": sets["gold"] & sets["predicted"]}.items():
            numbers[which].update(name for _, _, kind in spans for name in ("", kind))
    kinds = ["", *sorted((set(numbers["gold"]) | set(numbers["predicted"])) - {""})]
    return {kind: SpanCounts(**{which: counter[kind] for which, counter in numbers.items()}) for kind in kinds}


def span_f1(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], classes: int, negative: int | None = None
) -> float:
    """F1 of the spans, micro-averaged."""
    return count_spans(gold, predicted)[""].f1


# In this order analysis looks for the metric of a task whose table does not say it.
METRICS = {
    "macro_f1": Metric("macro-F1", "classification", macro_f1, by_class=f1_by_class),
    "micro_f1": Metric("micro-F1", "classification", micro_f1),
    "span_f1": Metric("span-F1", "tagging", span_f1),
    ACCURACY: Metric("accuracy", "classification", accuracy),
    "micro_f1_positive": Metric(
        "micro-F1 without the negative class", "classification", micro_f1_positive, needs_negative=True
    ),
    "weighted_f1": Metric("weighted F1", "classification", weighted_f1),
    "balanced_accuracy": Metric("balanced accuracy", "classification", balanced_accuracy, by_class=recall_by_class),
    "mcc": Metric("MCC", "classification", mcc),
}
CALIBRATION = {
    "ece": Calibration(f"ECE ({BINS} bins)", expected_calibration_error),
    "brier": Calibration("Brier score", brier_score),
}


def of_kind(kind: str) -> list[str]:
    """The names of the metrics of a kind of task."""
    return [name for name, metric in METRICS.items() if metric.kind == kind]


def score(
    metric: str, gold: Sequence[Any], predicted: Sequence[Any], classes: int, negative: int | None = None
) -> float:
    """The score of these answers by the metric of this name; see Metric."""
    return METRICS[metric].function(gold, predicted, classes, negative)
