"""Marking the tokens that matter to a task: a token classifier calls each ordinary token important or unimportant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import PreTrainedTokenizerBase

from adapt.data.tokens import batching
from adapt.tasks.tagging import EncodedWords, Tagging, TokenClassifier, collate_words
from adapt.training.objectives import Batch

KEY_NAME = "tasks.marking"
VERSION = 1
LABELS = ["unimportant", "important"]
CUT_FILE = "cut.json"


def each_token(tokenizer: PreTrainedTokenizerBase, sequences: Sequence[Sequence[int] | NDArray]) -> EncodedWords:
    """Sequences of token ids in which each ordinary token counts as a word; special tokens do not."""
    rows = [np.asarray(sequence) for sequence in sequences]
    places = [np.flatnonzero(~np.isin(row, tokenizer.all_special_ids)).tolist() for row in rows]
    return EncodedWords(
        [row.tolist() for row in rows], None, places, [list(range(len(ordinary))) for ordinary in places]
    )


@torch.no_grad()
def log_odds(
    model: TokenClassifier,
    tokenizer: PreTrainedTokenizerBase,
    encoded: EncodedWords,
    batch_size: int,
    device: torch.device,
) -> list[Tensor]:
    """log P(important) - log P(unimportant) of the ordinary tokens [n] of each sequence; the model is in eval mode."""
    unknown = [torch.zeros(len(places), dtype=torch.long) for places in encoded.places]
    by_sequence: dict[int, Tensor] = {}
    for indices in batching.sorted_batches(encoded.lengths, batch_size):
        batch = collate_words(tokenizer, encoded, indices, unknown)
        logits = Tagging().logits(model, {name: value.to(device) for name, value in batch.items()}).cpu()
        odds = (logits[:, 1] - logits[:, 0]).split([len(encoded.places[index]) for index in indices])
        by_sequence |= zip(indices, odds, strict=True)
    return [by_sequence[index] for index in range(len(encoded.ids))]


class MarkedTexts:
    """Texts with a mark on each ordinary token: a token classifier is trained on them, or chosen by its score on them.

    marks: for each text, 1 or 0 for each of its ordinary tokens, [n].
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Sequence[int]], marks: list[Tensor]) -> None:
        self.tokenizer, self.marks = tokenizer, marks
        self.encoded = each_token(tokenizer, texts)

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each text, special tokens included."""
        return self.encoded.lengths

    def batch(self, indices: Sequence[int]) -> Batch:
        """See tagging.collate_words."""
        return collate_words(self.tokenizer, self.encoded, indices, self.marks)

    def predict(self, model: TokenClassifier, batch_size: int, device: torch.device) -> Tensor:
        """The log-odds of all ordinary tokens, text by text."""
        return torch.cat(log_odds(model, self.tokenizer, self.encoded, batch_size, device))

    def score(self, answers: Tensor) -> float:
        """Minus the mean cross-entropy in nats.

        Not F1: where few tokens are important, an untrained head may have a higher F1 than one that marks no token.
        """
        return -binary_cross_entropy_with_logits(answers, torch.cat(self.marks).float()).item()


def matching_cut(answers: Tensor, share: float) -> float:
    """The log-odds that the given share of tokens exceeds. answers: log-odds [N] of tokens that were not trained on.

    With this cut as many tokens are marked as are important. Taking the likelier of the two classes, as Gu et al. seem
    to do, would hardly ever mark a token: the important class is rare, and the token classifier is unsure although it
    ranks tokens better than chance.
    """
    return float(np.quantile(answers.double().numpy(), 1 - share))


def write_cut(folder: Path, cut: float) -> None:
    """Write the log-odds above which a token is marked into the token classifier's folder."""
    (folder / CUT_FILE).write_text(json.dumps({"log_odds": cut}) + "\n")


def read_cut(folder: Path) -> float:
    """The log-odds that write_cut wrote."""
    return json.loads((folder / CUT_FILE).read_text())["log_odds"]
