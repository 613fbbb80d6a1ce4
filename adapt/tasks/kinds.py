"""The kinds of tasks that a model is fine-tuned for, each as one object: fine-tuning and evaluation name neither."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from adapt.data import tasks
from adapt.models import loading
from adapt.table.measurement import Measurements
from adapt.tasks.classification import ClassifiedTexts
from adapt.tasks.tagging import (
    TaggedSentences,
    Tagging,
    load_tagger,
    new_tagger,
)
from adapt.training.objectives import Batch, Classification, Objective

KEY_NAME = "tasks.kinds"
VERSION = 1


class Examples(Protocol):
    """What a headed encoder is trained on, or chosen by, with the answers that it should have."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example, special ones included."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some examples as tensors, with what the kind's objective reads."""

    def predict(self, model: Any, batch_size: int, device: torch.device) -> Any:
        """The answers of a model in eval mode to all examples, in their order."""

    def score(self, answers: Any) -> float:
        """How good the answers are: higher is better."""


class Split(Examples, Protocol):
    """One split of a task as a tokenizer reads it; its score is the task's own metric."""

    def measure(self, answers: Any, clean: list[int] | None = None) -> Measurements:
        """The rows of these answers; with the ids of the split's clean examples, also theirs as ``<split>_clean``."""

    def write(self, answers: Any, out: Path) -> None:
        """Keep the answers in the folder."""


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    new(folder, labels=, pooling=, dropout=): a model with a new head on the folder's encoder. load(folder): one that
    was saved. split(tokenizer, task, name, max_length): a split of a task.
    """

    objective: Objective
    new: Callable[..., Any]
    load: Callable[[Path], Any]
    split: Callable[[PreTrainedTokenizerBase, tasks.Task, str, int], Split]


KINDS = {
    "classification": Kind(
        Classification(), loading.new_classifier, lambda folder: loading.load_classifier(folder)[0], ClassifiedTexts
    ),
    "tagging": Kind(Tagging(), new_tagger, lambda folder: load_tagger(folder)[0], TaggedSentences),
}
