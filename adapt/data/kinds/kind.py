"""What can be known about a kind of task without torch; each other file here ends with the TaskKind of its kind.

Its training and answers are in adapt/tasks, in a file of the same name; its metrics are in adapt/table/metrics.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from adapt.config import TaskConfig
from adapt.data.files import Row

Places = dict[str, list[str]]  # where each example of a split was read, also of those that max_examples leaves out
Read = tuple[list[str], dict[str, list[Any]], Places]  # the names of the labels, the examples of each split, places


class Example(Protocol):
    """One example of a task: a dataclass of JSON values, which also has an ``id``, its place in its split."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Its one or two texts, as pretraining and the leak report read them."""

    @property
    def targets(self) -> tuple[int, ...]:
        """The indices of its labels; empty if its answer is not a label."""

    def answer(self, labels: Sequence[str]) -> str:
        """Its true answer as text, given the names of the labels."""


@dataclass(frozen=True)
class Answers:
    """A model's answers on a split; an example may have several, such as one for each word.

    places: for each answer its example and its number within the example. gold, predicted: [N]. columns: further
    values of each answer, [N] each.
    """

    places: list[tuple[Any, int]]
    gold: Any
    predicted: Any
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskKind:
    """How files, configurations and stage keys treat a kind of task."""

    does: str
    """Completes "this task ..." in a message."""
    classifies: bool
    """Whether a text gets one of several labels. Attacks, linear probes, TF-IDF, stored perturbations, selective
    masking and additional unlabelled text need such a task."""
    formats: tuple[str, ...]
    """The formats of its files, and pydoc if a task of this kind can be made from the installed packages."""
    reading: tuple[str, ...]
    """The modules that read it from files; their VERSIONs are part of the key of the task's stage."""
    reading_packages: tuple[str, ...]
    """The modules that make a task of it from the installed packages, without those that all pydoc tasks share."""
    answering: tuple[str, ...]
    """The modules that encode, answer and score it; they are part of the keys of fine-tuning and evaluation."""
    example: Callable[..., Example]
    """Makes an example from a row of a split's file that ``write_task`` wrote."""
    read: Callable[[TaskConfig, Mapping[str, Sequence[Path]]], Read]
    """Reads the files of the splits, of which pydoc has none. Raises ConfigError for every fault of the data."""
    read_unlabelled: Callable[[Row], Any]
    """Reads a row that ``adapt.predict`` is to answer. Raises ConfigError."""
    check_first: Callable[[TaskConfig, str, Sequence[Path]], None]
    """Raises ConfigError for a split without examples, or if the first in its files cannot be read."""
    check_question: Callable[[str | None], None]
    """Raises ConfigError for a pydoc question that does not exist."""
    check_columns: Callable[[str, TaskConfig], None]
    """Raises ConfigError for column settings that the kind does not have; the string is the task's config key."""
    read_answers: Callable[[Path, str, list[str], list[Any]], Answers]
    """The answers of a split in an evaluation's folder, given the names of the labels and the split's examples."""
    class_of: Callable[[str], str | None] = str
    """The class that a label stands for; None for one that stands for no class."""


def named(codes: Any, labels: Sequence[str]) -> Any:
    """Label indices [N] as names; -1 is missing."""
    return pd.Categorical.from_codes(codes, pd.Index(labels))
