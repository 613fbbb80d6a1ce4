"""Which examples form a step, and how a few of them become tensors. Every order is a pure function of its seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

VERSION = 1
POOL = 32  # batches that are sorted by length together: little padding, and still a shuffle


def shuffled_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Cut one epoch's shuffle into batches of about equal length.

    Within a pool of ``POOL * batch_size`` examples of the shuffle, examples are sorted by length and cut into
    batches; the batches are then shuffled. Each example occurs once; the last batch of the last pool may be short.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = sorted(order[start : start + POOL * batch_size].tolist(), key=lambda index: (lengths[index], index))
        batches += [pool[cut : cut + batch_size] for cut in range(0, len(pool), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


def sorted_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """All examples by length, longest first, for evaluation: least padding, and memory is tried at once."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[cut : cut + batch_size] for cut in range(0, len(order), batch_size)]


@dataclass
class Encoded:
    """Token ids of some texts, special tokens included, and segment ids where the tokenizer gives them."""

    ids: list[list[int]]
    segments: list[list[int]] | None

    @property
    def lengths(self) -> list[int]:
        """Tokens in each sequence, special tokens included."""
        return [len(sequence) for sequence in self.ids]


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, pairs: Sequence[str] | None = None
) -> Encoded:
    """One sequence a text (or pair of texts), cut at max_length tokens."""
    more = {} if pairs is None else {"text_pair": list(pairs)}
    found = tokenizer(list(texts), truncation=True, max_length=max_length, **more)
    return Encoded(found["input_ids"], found.get("token_type_ids"))


def chunk(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> Encoded:
    """Whole texts: one longer than max_length becomes several sequences, and no tail is lost.

    Each sequence has its own special tokens and never holds tokens of two texts.
    """
    found = tokenizer(list(texts), truncation=True, max_length=max_length, stride=0, return_overflowing_tokens=True)
    return Encoded(found["input_ids"], found.get("token_type_ids"))


def collate(tokenizer: PreTrainedTokenizerBase, encoded: Encoded, indices: Sequence[int]) -> dict[str, Tensor]:
    """Some sequences, padded to the longest of them.

    Returns input_ids, attention_mask, special_tokens_mask (and token_type_ids) [B, L], example_ids [B] = indices.
    """
    length = max(len(encoded.ids[index]) for index in indices)

    def padded(rows: list[list[int]], value: int) -> Tensor:
        return torch.tensor([row + [value] * (length - len(row)) for row in rows])

    input_ids = padded([encoded.ids[index] for index in indices], tokenizer.pad_token_id)
    attention_mask = padded([[1] * len(encoded.ids[index]) for index in indices], 0)
    batch = {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "special_tokens_mask": torch.isin(input_ids, torch.tensor(tokenizer.all_special_ids)).long(),
        "example_ids": torch.tensor(list(indices)),
    }
    if encoded.segments is not None:
        batch["token_type_ids"] = padded([encoded.segments[index] for index in indices], 0)
    return batch
