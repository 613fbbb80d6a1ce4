"""The loss of a language model on held-out text, with the same targets for all models and steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from adapt.config import ConfigError
from adapt.data.tokens import batching
from adapt.data.tokens.tokens import Sequences
from adapt.tasks.language_modelling import LanguageModelling
from adapt.training.objectives import Batch

KEY_NAME = "tasks.heldout"
VERSION = 1


class NotFiniteLoss(RuntimeError):
    """A loss on held-out text is NaN or infinite: the row would be left out without a word."""


@dataclass(frozen=True)
class Losses:
    """Mean cross-entropy in nats: over all predicted tokens, and over documents (the mean of each document's mean)."""

    token: float
    document: float
    tokens: int
    documents: int

    def finite(self, what: str) -> Losses:
        """These losses. Raises NotFiniteLoss, which says what they are of, if they are not numbers."""
        if not math.isfinite(self.token):
            raise NotFiniteLoss(f"{what}: the loss over its {self.tokens:,} tokens is {self.token}")
        return self


@dataclass(frozen=True)
class HeldOut:
    """Held-out text with its targets. documents: for each batch, the document of each predicted token, [P]."""

    batches: list[Batch]
    documents: list[NDArray[np.int32]]

    @classmethod
    def fixed(
        cls,
        task: LanguageModelling,
        tokenizer: PreTrainedTokenizerBase,
        sequences: Sequences,
        *,
        limit: int | None,
        batch_size: int,
    ) -> HeldOut:
        """The first ``limit`` sequences (None: all), with the targets of ``task.measure``, which is one fixed draw.

        Each sequence holds one text or a part of one, since the loss of a text must not depend on its neighbours.
        Raises ConfigError if they have no token to predict.
        """
        assert not sequences.packed
        count = len(sequences) if limit is None else min(limit, len(sequences))
        batches, documents = [], []
        for indices in batching.sorted_batches(sequences.lengths[:count], batch_size):
            batch = task.measure(batching.collate(tokenizer, sequences, indices))
            batches.append(batch)
            rows = batch["example_ids"][task.objective.rows(batch)]
            documents.append(sequences.documents[rows.numpy()])
        if not sum(map(len, documents)):
            raise ConfigError(f"held-out text: no token to predict in {count} sequences; give more or other text")
        return cls(batches, documents)

    @torch.no_grad()
    def losses(self, task: LanguageModelling, device: torch.device) -> Losses:
        """The losses of the model in evaluation mode; the batch size changes only the order of sums.

        Published losses that average over batches (Gururangan et al., 2020, table 3) hold only for their batch size.
        """
        training_before = task.model.training
        task.model.eval()
        by_batch = []
        for batch in self.batches:
            on_device = {name: value.to(device) for name, value in batch.items()}
            by_batch.append(task.objective.losses(task.model, on_device).cpu().double().numpy())
        task.model.train(training_before)
        losses = np.concatenate(by_batch)
        documents = np.unique(np.concatenate(self.documents), return_inverse=True)[1]
        means = np.bincount(documents, weights=losses) / np.bincount(documents)
        return Losses(float(losses.mean()), float(means.mean()), len(losses), len(means))
