"""How each kind of task is trained and answered: one object per kind, so that stages and commands name no kind."""

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


class NotFinite(RuntimeError):
    """A model answered with NaN or infinity, which is no answer: the first label would look like one.

    number: of the first such text.
    """

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"{what}: the model's answer is not finite, so it cannot be scored")
        self.number = number


class Examples(Protocol):
    """Examples with their true answers, which a headed encoder is trained on or its best checkpoint is chosen by."""

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each example, special tokens included."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some examples as tensors, with everything that the kind's objective reads."""

    def predict(self, model: Any, batch_size: int, device: torch.device) -> Any:
        """The answers of a model, in eval mode, to all examples in order."""

    def score(self, answers: Any) -> float:
        """How good the answers are: higher is better."""


class Split(Examples, Protocol):
    """One split of a task, tokenised; its score is the task's own metric."""

    def measure(self, answers: Any, clean: list[int] | None = None) -> Measurements:
        """The rows of these answers. clean: ids of the split's clean examples, to add rows of ``<split>_clean``."""

    def write(self, answers: Any, out: Path) -> None:
        """Write the answers into the folder, from which ``TaskKind.read_answers`` reads them."""


@dataclass(frozen=True)
class Head:
    """The head of a fine-tuned model, as its users need to know it.

    architectures: the configs whose architecture has its own head for this kind in transformers
    (``finetune.pooling=cls``). opens_own: the transformers class that loads such a model. opener: the function of this
    project that loads any. layer: a description of the project's own head (``finetune.pooling=mean``).
    """

    architectures: Collection[Any]
    opens_own: str
    opener: str
    layer: str


@dataclass(frozen=True)
class Kind:
    """How a kind of task is trained and how its models answer.

    new(folder, labels=, pooling=, dropout=, adapted=): a model with a new head on the folder's encoder. load(folder):
    a saved model and the names of its labels. split(tokenizer, task, name, max_length): a split of a task.
    needs_offsets: whether the tokenizer must give the character offsets of its tokens.

    For ``adapt.predict``: encode(tokenizer, given, places, max_length) tokenises the examples that
    ``TaskKind.read_unlabelled`` returned; places: where each was read, for the ConfigError about one that cannot be
    answered. answer(model, tokenizer, encoded, given, labels, batch_size) yields an answer to each, which becomes a
    line of JSON.
    """

    objective: Objective
    new: Callable[..., Any]
    load: Callable[[Path], tuple[Any, list[str]]]
    split: Callable[[PreTrainedTokenizerBase, tasks.Task, str, int], Split]
    head: Head
    needs_offsets: bool
    encode: Callable[[PreTrainedTokenizerBase, list[Any], list[str], int], Encoded]
    answer: Callable[[Any, PreTrainedTokenizerBase, Any, list[Any], list[str], int], Iterator[dict[str, Any]]]
