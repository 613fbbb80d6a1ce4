"""Masked language modelling: which tokens are predicted, and what the model sees in their place."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

VERSION = 1
HELD_OUT_DRAW = 2**31 - 1  # the one draw of masks that every held-out loss uses, whatever the step or the batch


def mask_tokens(
    batch: dict[str, Tensor], tokenizer: PreTrainedTokenizerBase, *, rate: float, seed: int, draw: int
) -> dict[str, Tensor]:
    """Predict ``max(1, round(rate * n))`` of each example's n ordinary tokens (Devlin et al., 2019, section 3.1).

    Of the predicted tokens 80% become [MASK], 10% a random ordinary token, 10% stay. The choice is drawn for each
    example from (seed, draw, example id), so it does not depend on the batch or on padding: a new ``draw`` is a new
    dynamic mask, the same one is the same mask.

    Adds positions [P] (flat indices row * L + column), targets [P] and rows [P]; an example without an ordinary
    token predicts nothing.
    """
    ids, ordinary = batch["input_ids"].clone(), batch["special_tokens_mask"] == 0
    ordinary &= batch["attention_mask"] == 1
    vocabulary = ordinary_tokens(tokenizer)
    positions, rows = [], []
    for row, example in enumerate(batch["example_ids"].tolist()):
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, draw, example])))
        candidates = ordinary[row].nonzero().flatten().numpy()
        if not len(candidates):
            continue
        count = max(1, round(rate * len(candidates)))
        chosen = np.sort(random.permutation(candidates)[:count])
        kind = random.random(count)
        replacement = vocabulary[random.integers(len(vocabulary), size=count)]
        seen = np.where(
            kind < 0.8, tokenizer.mask_token_id, np.where(kind < 0.9, replacement, ids[row, chosen].numpy())
        )
        ids[row, chosen] = torch.from_numpy(seen)
        positions.append(row * ids.shape[1] + chosen)
        rows.append(np.full(count, row))
    flat = torch.from_numpy(np.concatenate(positions)) if positions else torch.zeros(0, dtype=torch.long)
    return {
        **batch,
        "input_ids": ids,
        "positions": flat,
        "targets": batch["input_ids"].flatten()[flat],
        "rows": torch.from_numpy(np.concatenate(rows)) if rows else torch.zeros(0, dtype=torch.long),
    }


def ordinary_tokens(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """The ids of the vocabulary that are not special tokens, ascending."""
    return np.setdiff1d(np.arange(len(tokenizer)), np.array(tokenizer.all_special_ids))
