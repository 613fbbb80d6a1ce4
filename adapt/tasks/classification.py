"""Classification: one label for each text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adapt.data import tasks
from adapt.data.tokens import batching
from adapt.models import heads
from adapt.table.measurement import Measurements
from adapt.tasks import prediction
from adapt.tasks.scores import scores
from adapt.training.objectives import Batch

KEY_NAME = "tasks.classification"
VERSION = 1


class ClassifiedTexts:
    """A label a text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: tasks.Task, name: str, max_length: int) -> None:
        self.tokenizer, self.task, self.name = tokenizer, task, name
        self.encoded = prediction.encode_examples(tokenizer, task.splits[name], max_length)
        self.gold = torch.tensor([example.label for example in task.splits[name]])

    @property
    def lengths(self) -> list[int]:
        """See Split."""
        return self.encoded.lengths

    def batch(self, indices: Sequence[int]) -> Batch:
        """What batching.collate gives, and labels [B]."""
        return {**batching.collate(self.tokenizer, self.encoded, indices), "labels": self.gold[list(indices)]}

    def predict(self, model: heads.Classifier, batch_size: int, device: torch.device) -> Tensor:
        """Logits [N, C]."""
        return prediction.predict(model, self.tokenizer, self.encoded, batch_size, device)

    def score(self, answers: Tensor) -> float:
        """The task's metric of the likeliest labels."""
        predicted = answers.argmax(-1).tolist()
        return prediction.score(self.task.metric, self.gold.tolist(), predicted, len(self.task.labels))

    def measure(self, answers: Tensor, clean: list[int] | None = None) -> Measurements:
        """The task's metric and accuracy."""
        return scores(self.name, self.task, answers.argmax(-1).tolist(), clean)

    def write(self, answers: Tensor, out: Path) -> None:
        """``<split>_logits.npy``, [N, C]."""
        np.save(out / f"{self.name}_logits.npy", answers.numpy())
