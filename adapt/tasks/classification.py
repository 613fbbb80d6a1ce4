"""Classification: one label for each text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from adapt.config import ConfigError
from adapt.data import tasks
from adapt.data.kinds.classification import answers_file
from adapt.data.tokens import batching
from adapt.models import heads, loading
from adapt.table import metrics
from adapt.table.measurement import Measurements
from adapt.tasks import prediction
from adapt.tasks.kind import Head, Kind, NotFinite
from adapt.tasks.scores import scores
from adapt.training.objectives import Batch, Classification

KEY_NAME = "tasks.classification"
VERSION = 1


class ClassifiedTexts:
    """Texts, each with one label."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: tasks.Task, name: str, max_length: int) -> None:
        self.tokenizer, self.task, self.name = tokenizer, task, name
        self.encoded = prediction.encode_examples(tokenizer, task.splits[name], max_length)
        self.gold = torch.tensor([example.label for example in task.splits[name]])

    @property
    def lengths(self) -> list[int]:
        """See Split."""
        return self.encoded.lengths

    def batch(self, indices: Sequence[int]) -> Batch:
        """The tensors of batching.collate, and labels [B]."""
        return {**batching.collate(self.tokenizer, self.encoded, indices), "labels": self.gold[list(indices)]}

    def predict(self, model: heads.Classifier, batch_size: int, device: torch.device) -> Tensor:
        """Logits [N, C]. Raises NotFinite."""
        try:
            return prediction.predict(model, self.tokenizer, self.encoded, batch_size, device)
        except NotFinite as error:
            text = self.task.splits[self.name][error.number].text
            raise NotFinite(error.number, f"{self.name} text {error.number} ({text[:40]!r})") from error

    def score(self, answers: Tensor) -> float:
        """The task's metric for the likeliest labels."""
        predicted = answers.argmax(-1).tolist()
        return metrics.score(
            self.task.metric, self.gold.tolist(), predicted, len(self.task.labels), self.task.negative_index
        )

    def measure(self, answers: Tensor, clean: list[int] | None = None) -> Measurements:
        """See tasks.scores."""
        return scores(self.name, self.task, answers.numpy(), clean)

    def write(self, answers: Tensor, out: Path) -> None:
        """Write the logits [N, C]."""
        np.save(out / answers_file(self.name), answers.numpy())


def encode(
    tokenizer: PreTrainedTokenizerBase, given: list[dict[str, Any]], places: list[str], max_length: int
) -> batching.Encoded:
    """Token ids of columns ``text`` and, if there, ``text_pair``.

    Raises ConfigError for a text without a token, and where only some rows have a pair.
    """
    paired = [row.get("text_pair") is not None for row in given]
    if any(paired) and not all(paired):
        raise ConfigError(
            f"{places[paired.index(False)]}: no column 'text_pair' or null in it, but {places[paired.index(True)]} has "
            "a pair; give every row a pair, or none"
        )
    pairs = [row["text_pair"] for row in given] if any(paired) else None
    encoded = batching.encode(tokenizer, [row["text"] for row in given], max_length, pairs)
    for place, ids in zip(places, encoded.ids, strict=True):
        if not ids:
            raise ConfigError(f"{place}: its text has no token, and this tokenizer puts none around a text")
    return encoded


def answer(
    model: heads.Classifier,
    tokenizer: PreTrainedTokenizerBase,
    encoded: batching.Encoded,
    given: list[dict[str, Any]],
    labels: list[str],
    batch_size: int,
) -> Iterator[dict[str, Any]]:
    """Yield each row with its columns, the likeliest label as ``predicted``, and the probability of each label."""
    logits = prediction.predict(model, tokenizer, encoded, batch_size, model.device)
    for row, probabilities in zip(given, logits.softmax(-1).tolist(), strict=True):
        best = max(range(len(labels)), key=lambda index: probabilities[index])
        by_label = dict(zip(labels, (round(value, 6) for value in probabilities), strict=True))
        yield {**row, "predicted": labels[best], "probabilities": by_label}


KIND = Kind(
    objective=Classification(),
    new=loading.new_classifier,
    load=loading.load_classifier,
    split=ClassifiedTexts,
    head=Head(
        architectures=MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        opens_own="AutoModelForSequenceClassification",
        opener="adapt.models.load_classifier",
        layer="the linear layer on the mean of its last hidden states, for which transformers has no class",
    ),
    needs_offsets=False,
    encode=encode,
    answer=answer,
)
