"""What a model is trained for: the loss of each example of a batch, and how many items that loss is a sum over."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

VERSION = 1
Batch = dict[str, Tensor]


class Objective(Protocol):
    """A training objective. A step's loss is the sum of its example losses over the sum of its items."""

    def items(self, batch: Batch) -> int:
        """How many terms the batch's loss has: examples, or predicted tokens."""

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """One row of class scores for each item."""

    def example_losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Losses [B] in float32, each the sum over the items of one example."""


class Classification:
    """Cross-entropy of one label an example; an item is an example."""

    def items(self, batch: Batch) -> int:
        """The number of examples B."""
        return len(batch["labels"])

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Class scores [B, C]."""
        return model(**model_inputs(batch))

    def example_losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy [B] in nats."""
        return cross_entropy(self.logits(model, batch).float(), batch["labels"], reduction="none")


class MaskedLanguageModel:
    """Cross-entropy of the masked tokens (Devlin et al., 2019, section 3.1); an item is a predicted token."""

    def items(self, batch: Batch) -> int:
        """The number of predicted tokens P."""
        return len(batch["positions"])

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Vocabulary scores [P, V] at the predicted tokens alone."""
        return model(**model_inputs(batch), positions=batch["positions"])

    def example_losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy [B] in nats, summed over each example's predicted tokens; 0 where it has none."""
        losses = cross_entropy(self.logits(model, batch).float(), batch["targets"], reduction="none")
        empty = torch.zeros(len(batch["input_ids"]), device=losses.device)
        return empty.index_add(0, batch["rows"], losses)


def model_inputs(batch: Batch) -> Batch:
    """The part of a batch that every encoder reads."""
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
