"""Rows with a classifier's scores on a split and on its clean examples."""

from __future__ import annotations

from typing import Any

from adapt.data import tasks
from adapt.data.splits import clean_part
from adapt.table.measurement import measurement
from adapt.table.metrics import ACCURACY, score

KEY_NAME = "tasks.scores"
VERSION = 1


def scores(split: str, task: tasks.Task, predicted: list[int], clean: list[int] | None = None) -> list[dict[str, Any]]:
    """The task's own metric and accuracy; predicted: one label index per example of the split.

    clean: the ids of the split's clean examples, for rows of ``<split>_clean`` as well. There are none if all of these
    have the same label, because there is nothing to tell apart.
    """
    gold = [example.label for example in task.splits[split]]
    measurements = rows(split, task, gold, predicted)
    if clean is not None and len({gold[number] for number in clean}) > 1:
        measurements += rows(clean_part(split), task, [gold[i] for i in clean], [predicted[i] for i in clean])
    return measurements


def rows(split: str, task: tasks.Task, gold: list[int], predicted: list[int]) -> list[dict[str, Any]]:
    """The rows of one set of examples."""
    metrics = dict.fromkeys([task.metric, ACCURACY])
    return [measurement(split, name, score(name, gold, predicted, len(task.labels)), n=len(gold)) for name in metrics]
