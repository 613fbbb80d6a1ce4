"""What is known of a kind of task without torch; each file beside this one ends with its own.

What is trained for it is in adapt/tasks, in a file of the same name; its metrics are in adapt/table/metrics.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from adapt.config import TaskConfig
from adapt.data.files import Row

Read = tuple[list[str], dict[str, list[Any]]]  # the names of the labels, and the examples of each split


class Example(Protocol):
    """One example of a task, a dataclass of what JSON can hold; it also has an ``id``, its place in its split."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Its one or two texts, as pretraining and the leak report read them."""

    @property
    def targets(self) -> tuple[int, ...]:
        """The indices of its labels; none where its answer is no label."""

    def answer(self, labels: Sequence[str]) -> str:
        """Its answer in words, given the names of the labels."""


@dataclass(frozen=True)
class Answers:
    """What a model answered on a split: one entry for each answer, of which an example may have several.

    places: the example, and which of its answers this is. gold, predicted: [N]. columns: more of each answer, [N] each.
    """

    places: list[tuple[Any, int]]
    gold: Any
    predicted: Any
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskKind:
    """A kind of task, as files, configs and keys know it."""

    does: str
    """Completes "this task ..." in a message."""
    classifies: bool
    """Whether it gives a text one of several labels. Attacks, linear probes, TF-IDF, kept perturbations, selective
    masking and more unlabelled text need a task that does."""
    formats: tuple[str, ...]
    """Of the files, and pydoc where the installed packages have a task of this kind."""
    reading: tuple[str, ...]
    """The modules that read it from files: their VERSIONs are part of the key of the task's stage."""
    reading_packages: tuple[str, ...]
    """Those that make a task of it from the installed packages, beside the ones that all pydoc tasks share."""
    answering: tuple[str, ...]
    """The modules that encode, answer and score it: in the keys of fine-tuning and evaluation."""
    example: Callable[..., Example]
    """From a row of a split's file, as ``write_task`` wrote it."""
    read: Callable[[TaskConfig, Mapping[str, Path]], Read]
    """From the files of the splits, which are none for pydoc. Raises ConfigError for every fault of the data."""
    read_unlabelled: Callable[[Row], Any]
    """From a row that ``adapt.predict`` is to answer. Raises ConfigError."""
    check_first: Callable[[TaskConfig, Path], None]
    """Raises ConfigError for a file without an example, or whose first one cannot be read."""
    check_question: Callable[[str | None], None]
    """Raises ConfigError for a task of pydoc that is not there."""
    check_columns: Callable[[str, TaskConfig], None]
    """Raises ConfigError, which calls the task's config by this key, for columns that the kind does not have."""
    kept: Callable[[Path, str, list[str], list[Any]], Answers]
    """What an evaluation's folder keeps of a split, given the names of the labels and the split's examples."""


def named(codes: Any, labels: Sequence[str]) -> Any:
    """Indices of labels [N] as their names; -1 is missing."""
    return pd.Categorical.from_codes(codes, pd.Index(labels))
