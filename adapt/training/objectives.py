"""Training objectives: the scores of a model, their targets, and the example that each of them belongs to."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

KEY_NAME = "training.objectives"
VERSION = 2
Batch = dict[str, Tensor]


class Objective(Protocol):
    """A training objective. Its items are what the model predicts something for: examples, or tokens.

    The loss of a step is the mean over the items of all its micro-batches.
    """

    def items(self, batch: Batch) -> int:
        """The number of items P."""

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Class scores [P, C]."""

    def targets(self, batch: Batch) -> Tensor:
        """The right class of each item, [P]."""

    def rows(self, batch: Batch) -> Tensor:
        """The example that each item belongs to, [P]."""

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropies [P] in nats of ``logits`` with ``targets``; a large [P, C] is never held in memory whole."""


class Classification:
    """One label per example; an item is an example."""

    def items(self, batch: Batch) -> int:
        """The number of examples B."""
        return len(batch["labels"])

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Class scores [B, C]."""
        return model(**model_inputs(batch))

    def targets(self, batch: Batch) -> Tensor:
        """The labels [B]."""
        return batch["labels"]

    def rows(self, batch: Batch) -> Tensor:
        """0 ... B - 1."""
        return torch.arange(len(batch["labels"]), device=batch["labels"].device)

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropies [B] in nats."""
        return cross_entropy(self.logits(model, batch).float(), self.targets(batch), reduction="none")


class PredictedTokens:
    """Prediction of the tokens at the ``positions`` of a batch; an item is a predicted token."""

    def items(self, batch: Batch) -> int:
        """The number of predicted tokens P."""
        return len(batch["positions"])

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores of the vocabulary [P, V], at the predicted tokens only."""
        return model(**model_inputs(batch), positions=batch["positions"])

    def targets(self, batch: Batch) -> Tensor:
        """The right tokens, [P]."""
        return batch["targets"]

    def rows(self, batch: Batch) -> Tensor:
        """The sequence of each predicted token, [P]."""
        return batch["rows"]

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropies [P] in nats; the model splits a large projection into chunks (adapt/models/language.py)."""
        return model(**model_inputs(batch), positions=batch["positions"], targets=batch["targets"]).float()


class MaskedLanguageModel(PredictedTokens):
    """Prediction of the masked tokens (Devlin et al., 2019, section 3.1)."""


class CausalLanguageModel(PredictedTokens):
    """Prediction of each next token of a text from those before it (Radford et al., 2018, section 3.1, equation 1)."""


def example_losses(objective: Objective, model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy [B] in nats, summed over each example's items; 0 where it has none."""
    return by_example(objective, batch, objective.losses(model, batch))


def by_example(objective: Objective, batch: Batch, values: Tensor) -> Tensor:
    """Sums over the items of each example [B], of one value per item [P]."""
    empty = torch.zeros(len(batch["input_ids"]), device=values.device, dtype=values.dtype)
    return empty.index_add(0, objective.rows(batch), values)


def model_inputs(batch: Batch) -> Batch:
    """The part of a batch that a model reads; only packed batches, for language models, have ``document_ids``."""
    names = ("input_ids", "attention_mask", "token_type_ids", "document_ids")
    return {name: batch[name] for name in names if name in batch}
