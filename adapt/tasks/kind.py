"""What a model is trained for, as one object for each kind of task: the stages and commands name no kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from adapt.data import tasks
from adapt.data.tokens.batching import Encoded
from adapt.table.measurement import Measurements
from adapt.training.objectives import Batch, Objective


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
        """Keep the answers in the folder, where ``TaskKind.kept`` reads them."""


@dataclass(frozen=True)
class Head:
    """What a fine-tuned model is, for those who open it.

    architectures: the configs whose architecture has a head of its own for this kind (``finetune.pooling=cls``).
    opens_own: the class of transformers that opens such a model. opener: the function of ours that opens any. layer:
    what our own head is (``finetune.pooling=mean``).
    """

    architectures: Collection[Any]
    opens_own: str
    opener: str
    layer: str


@dataclass(frozen=True)
class Kind:
    """What is trained for a kind of task, and how it answers.

    new(folder, labels=, pooling=, dropout=, adapted=): a model with a new head on the folder's encoder. load(folder):
    one that was saved, and the names of its labels. split(tokenizer, task, name, max_length): a split of a task.
    needs_offsets: whether the tokenizer must tell where its tokens are in a text.

    For ``adapt.predict``: encode(tokenizer, given, places, max_length) of what ``TaskKind.read_unlabelled`` gave and
    where each stood, which raises ConfigError for one that cannot be answered; and answer(model, tokenizer, encoded,
    given, labels, batch_size), one answer for each, which becomes a line of JSON.
    """

    objective: Objective
    new: Callable[..., Any]
    load: Callable[[Path], tuple[Any, list[str]]]
    split: Callable[[PreTrainedTokenizerBase, tasks.Task, str, int], Split]
    head: Head
    needs_offsets: bool
    encode: Callable[[PreTrainedTokenizerBase, list[Any], list[str], int], Encoded]
    answer: Callable[[Any, PreTrainedTokenizerBase, Any, list[Any], list[str], int], Iterator[dict[str, Any]]]
