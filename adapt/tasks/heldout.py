"""The loss of a language model on held-out text, under targets that are fixed once for all models and steps."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Losses:
    """Mean cross-entropy in nats, over all predicted tokens, and over documents of each one's own mean."""

    token: float
    document: float
    tokens: int
    documents: int


@dataclass(frozen=True)
class HeldOut:
    """Held-out text with its targets; documents: for each batch, which document each predicted token is of, [P]."""

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
        """The first ``limit`` sequences, all for None; their targets are ``task.measure``'s one draw.

        Each holds one text or a part of one: a text's loss must not depend on those that it happens to lie beside.
        Raises ConfigError when there is no token to predict in them.
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
        """The losses of the model in evaluation mode; equal at every batch size but for the order of sums.

        Paper losses that average over batches (Gururangan et al., 2020, table 3) hold at their batch size alone.
        """
        training_before = task.model.training
        task.model.eval()
        found = []
        for batch in self.batches:
            moved = {name: value.to(device) for name, value in batch.items()}
            found.append(task.objective.losses(task.model, moved).cpu().double().numpy())
        task.model.train(training_before)
        losses = np.concatenate(found)
        documents = np.unique(np.concatenate(self.documents), return_inverse=True)[1]
        means = np.bincount(documents, weights=losses) / np.bincount(documents)
        return Losses(float(losses.mean()), float(means.mean()), len(losses), len(means))
