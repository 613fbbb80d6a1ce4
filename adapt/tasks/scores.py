"""Rows with a classifier's scores on a split and on its clean examples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data import tasks
from adapt.data.splits import clean_part
from adapt.table.measurement import Measurements, measurement
from adapt.table.metrics import ACCURACY, CALIBRATION, METRICS, f1_by_class, of_kind, score

KEY_NAME = "tasks.scores"
VERSION = 2
OF_WHOLE = "whole_"  # before the name of a metric: of all examples of the split, over the classes of its clean part


def scores(split: str, task: tasks.Task, logits: NDArray[Any], clean: list[int] | None = None) -> Measurements:
    """Every metric of classification, F1 of each class, calibration; logits: [N, C], in the order of the split.

    The task's own metric and accuracy come first. clean: the ids of the split's clean examples, for rows of
    ``<split>_clean`` as well. There are none if all of these have the same label, because there is nothing to tell
    apart. Where a class is missing from the clean part, the means over classes of the two parts do not compare:
    ``<split>_clean`` then has a row ``whole_<metric>``, the mean on the whole split over the classes of its clean part.
    """
    gold = np.array([example.label for example in task.splits[split]])
    measurements = rows(split, task, gold, logits)
    if clean is not None and len(set(gold[clean].tolist())) > 1:
        measurements += rows(clean_part(split), task, gold[clean], logits[clean])
        measurements += on_equal_classes(split, gold, logits.argmax(-1), clean)
    return measurements


def rows(split: str, task: tasks.Task, gold: NDArray[Any], logits: NDArray[Any]) -> Measurements:
    """The rows of one set of examples.

    ``f1_<class>`` has as n the examples of the class; it exists for the classes that examples have or were answered
    with, and ``classes`` is their number, over which macro-F1 is a mean.
    """
    answers, n = (gold.tolist(), logits.argmax(-1).tolist()), len(gold)
    metrics = [name for name in of_kind("classification") if task.negative or not METRICS[name].needs_negative]
    named = dict.fromkeys([task.metric, ACCURACY, *metrics])
    values = {name: score(name, *answers, len(task.labels), task.negative_index) for name in named}
    chances = probabilities(logits)
    values |= {name: error.function(answers[0], chances) for name, error in CALIBRATION.items()}
    of_classes = f1_by_class(*answers)
    values["classes"] = len(of_classes)
    measured = [measurement(split, name, value, n=n) for name, value in values.items()]
    return measured + [
        measurement(split, f"f1_{task.labels[label]}", value, n=answers[0].count(label))
        for label, value in of_classes.items()
    ]


def on_equal_classes(split: str, gold: NDArray[Any], predicted: NDArray[Any], clean: list[int]) -> Measurements:
    """The means over classes on the whole split, over the classes of its clean part, if that has fewer."""
    measured = []
    for name, metric in METRICS.items():
        if metric.by_class is not None:
            whole = metric.by_class(gold.tolist(), predicted.tolist())
            part = metric.by_class(gold[clean].tolist(), predicted[clean].tolist())
            if set(part) != set(whole):
                value = float(np.mean([whole[label] for label in part]))
                measured.append(measurement(clean_part(split), OF_WHOLE + name, value, n=len(gold)))
    return measured


def probabilities(logits: NDArray[Any]) -> NDArray[np.float64]:
    """The softmax of logits [N, C]."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    chances: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return chances
