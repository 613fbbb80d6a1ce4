"""Masked language modelling: which tokens are predicted, and what the model sees in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

KEY_NAME = "data.masking.tokens"
VERSION = 1
HELD_OUT_DRAW = 2**31 - 1  # the draw of masks that every held-out loss uses, whatever the step or the batch


@dataclass
class Candidates:
    """The n tokens of one example that may be predicted: neither special tokens nor padding."""

    columns: NDArray[np.int64]
    """Their columns in the row, [n], ascending."""
    ids: NDArray[np.int64]
    """Their token ids, [n]."""
    starts: NDArray[np.bool_] | None
    """Whether each begins a word, [n]; None where the batch has no ``word_starts``."""
    example: int
    """The number of the example, under which its marks are found."""


Chosen = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Indices of the candidates to predict, ascending, and the unit of each; all of a unit share one draw of 80/10/10."""
Choose = Callable[[np.random.Generator, Candidates, int], Chosen]


def single_tokens(random: np.random.Generator, candidates: Candidates, count: int) -> Chosen:
    """``count`` tokens, all equally likely (Devlin et al., 2019, section 3.1)."""
    return np.sort(random.permutation(np.arange(len(candidates.columns)))[:count]), np.arange(count)


def mask_tokens(
    batch: dict[str, Tensor],
    tokenizer: PreTrainedTokenizerBase,
    *,
    rate: float,
    seed: int,
    draw: int,
    choose: Choose = single_tokens,
) -> dict[str, Tensor]:
    """Predict ``max(1, round(rate * n))`` of each example's n ordinary tokens (Devlin et al., 2019, section 3.1).

    Of the predicted tokens 80% become [MASK], 10% a random ordinary token, 10% stay. The mask of an example is drawn
    from (seed, draw, example id), so it does not depend on the batch or on padding: another ``draw`` gives another
    dynamic mask, the same ``draw`` the same mask. ``choose`` picks the tokens to predict, and says which of them share
    a draw of 80/10/10. Words and spans (adapt/data/masking/words.py) may exceed the count by the rest of a word; marked
    tokens (adapt/data/masking/marks.py) may be fewer.

    Adds positions [P] (flat indices row * L + column), targets [P] and rows [P]; an example without an ordinary
    token predicts nothing.
    """
    ids, ordinary = batch["input_ids"].clone(), batch["special_tokens_mask"] == 0
    ordinary &= batch["attention_mask"] == 1
    vocabulary = ordinary_tokens(tokenizer)
    starts = batch.get("word_starts")
    positions, rows = [], []
    for row, example in enumerate(batch["example_ids"].tolist()):
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, draw, example])))
        columns = ordinary[row].nonzero().flatten().numpy()
        if not len(columns):
            continue
        begins = None if starts is None else starts[row].numpy()[columns].astype(bool)
        candidates = Candidates(columns, ids[row].numpy()[columns], begins, example)
        indices, units = choose(random, candidates, max(1, round(rate * len(columns))))
        chosen, kind = columns[indices], random.random(int(units[-1]) + 1)[units]
        replacement = vocabulary[random.integers(len(vocabulary), size=len(chosen))]
        seen = np.where(
            kind < 0.8, tokenizer.mask_token_id, np.where(kind < 0.9, replacement, ids[row, chosen].numpy())
        )
        ids[row, chosen] = torch.from_numpy(seen)
        positions.append(row * ids.shape[1] + chosen)
        rows.append(np.full(len(chosen), row))
    flat = torch.from_numpy(np.concatenate(positions)) if positions else torch.zeros(0, dtype=torch.long)
    return {
        **batch,
        "input_ids": ids,
        "positions": flat,
        "targets": batch["input_ids"].flatten()[flat],
        "rows": torch.from_numpy(np.concatenate(rows)) if rows else torch.zeros(0, dtype=torch.long),
    }


def ordinary_tokens(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """The token ids of the vocabulary without special tokens, ascending."""
    return np.setdiff1d(np.arange(len(tokenizer)), np.array(tokenizer.all_special_ids))
