"""The metrics that a task may be measured by, one entry each; all are better the higher they are.

No torch, and scikit-learn only when a score is computed: configs, tables and analysis read the names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

KEY_NAME = "table.metrics"
VERSION = 1

ACCURACY = "accuracy"
Span = tuple[int, int, str]  # first token, the one after its last, type


@dataclass(frozen=True)
class Metric:
    """title: how a reader writes it. kind: of the tasks that it measures.

    function(gold, predicted, classes): the score of one answer for each example, in their order. Of classification an
    answer is the index of one of ``classes`` labels; of tagging it is the spans of a sentence.
    """

    title: str
    kind: str
    function: Callable[[Sequence[Any], Sequence[Any], int], float]


def accuracy(gold: Sequence[int], predicted: Sequence[int], classes: int) -> float:
    """The share of right answers."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(gold, predicted))


def macro_f1(gold: Sequence[int], predicted: Sequence[int], classes: int) -> float:
    """F1 averaged over the *training* labels: one that the examples lack counts, as 0 if it is predicted."""
    return _f1("macro", gold, predicted, classes)


def micro_f1(gold: Sequence[int], predicted: Sequence[int], classes: int) -> float:
    """F1 over all labels together; of a task with one label for each example it equals accuracy."""
    return _f1("micro", gold, predicted, classes)


def _f1(average: str, gold: Sequence[int], predicted: Sequence[int], classes: int) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(gold, predicted, labels=list(range(classes)), average=average, zero_division=0.0))


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


def span_f1(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], classes: int) -> float:
    """F1 of the spans, micro-averaged."""
    return count_spans(gold, predicted)[""].f1


# In this order analysis looks for the metric of a task whose table does not say it.
METRICS = {
    "macro_f1": Metric("macro-F1", "classification", macro_f1),
    "micro_f1": Metric("micro-F1", "classification", micro_f1),
    "span_f1": Metric("span-F1", "tagging", span_f1),
    ACCURACY: Metric("accuracy", "classification", accuracy),
}


def of_kind(kind: str) -> list[str]:
    """The names of the metrics of a kind of task."""
    return [name for name, metric in METRICS.items() if metric.kind == kind]


def score(metric: str, gold: Sequence[Any], predicted: Sequence[Any], classes: int) -> float:
    """The score of these answers by the metric of this name; see Metric."""
    return METRICS[metric].function(gold, predicted, classes)
