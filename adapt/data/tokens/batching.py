"""Batches: which examples form one, and how they become tensors. Every order is a pure function of its seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

KEY_NAME = "data.tokens.batching"
VERSION = 2
Lengths = Sequence[int] | NDArray[np.int32]
POOL = 32  # batches whose examples are sorted by length together: little padding, and still a shuffle


def shuffled_batches(lengths: Lengths, batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Shuffle the examples of one epoch, and cut them into batches of examples of about equal length.

    The shuffled examples are cut into pools of ``POOL * batch_size``. Each pool is sorted by length and cut into
    batches, and all batches are then shuffled. Each example occurs once; the last batch of the last pool may be short.
    """
    random = np.random.default_rng([seed, epoch])
    order, lengths = random.permutation(len(lengths)), np.asarray(lengths)
    batches: list[list[int]] = []
    for start in range(0, len(order), POOL * batch_size):
        pool = np.sort(order[start : start + POOL * batch_size])
        pool = pool[np.argsort(lengths[pool], kind="stable")].tolist()
        batches += [pool[cut : cut + batch_size] for cut in range(0, len(pool), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


def sorted_batches(lengths: Lengths, batch_size: int, *, alike: bool = False) -> list[list[int]]:
    """All examples by length, longest first, for evaluation: least padding, and memory runs out early if at all.

    alike: only examples of the same length share a batch, so that none is padded.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
    groups = [list(group) for _, group in groupby(order, key=lambda index: lengths[index])] if alike else [order]
    return [group[cut : cut + batch_size] for group in groups for cut in range(0, len(group), batch_size)]


@dataclass
class Encoded:
    """Token ids of some texts, special tokens included, and their segment ids if the tokenizer returns any."""

    ids: list[list[int]]
    segments: list[list[int]] | None

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each sequence, special tokens included."""
        return [len(sequence) for sequence in self.ids]


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, pairs: Sequence[str] | None = None
) -> Encoded:
    """One sequence per text (or pair of texts), truncated at max_length tokens."""
    # Many tokenizers leave segment ids out unless they are asked for: all generic fast ones, and under transformers
    # 5.23 ALBERT's, XLNet's and RemBERT's. A network that reads none is not given any (models/segments.py).
    more: dict[str, Any] = {} if pairs is None else {"text_pair": list(pairs), "return_token_type_ids": True}
    encoding = tokenizer(list(texts), truncation=True, max_length=max_length, **more)
    return Encoded(encoding["input_ids"], encoding.get("token_type_ids"))


class TokenSequences(Protocol):
    """Sequences of token ids that are read one by one, for example from a file (adapt.data.tokens.tokens)."""

    packed: bool
    words: bool

    def ids(self, index: int) -> NDArray[np.int32]:
        """The token ids of a sequence, special tokens included."""

    def word_starts(self, index: int) -> NDArray[np.bool_]:
        """Whether each token begins a word; only where ``words`` is True."""

    def starts(self, index: int) -> NDArray[np.int32]:
        """The offset in a packed sequence at which each of its texts begins; the first is 0."""


def collate(
    tokenizer: PreTrainedTokenizerBase, encoded: Encoded | TokenSequences, indices: Sequence[int]
) -> dict[str, Tensor]:
    """The sequences at these indices as a batch, padded to the longest of them.

    Returns input_ids, attention_mask, special_tokens_mask (and token_type_ids) [B, L], and example_ids [B] = indices.
    Packed sequences also have document_ids [B, L]: 0 at padding, then 1, 2, ... for the texts of each. Where words are
    marked, there is word_starts [B, L].
    """
    if isinstance(encoded, Encoded):
        rows = [np.asarray(encoded.ids[index]) for index in indices]
    else:
        rows = [encoded.ids(index) for index in indices]
    sizes = np.array(list(map(len, rows)))
    real = np.arange(sizes.max()) < sizes[:, None]

    def padded(values: Sequence[NDArray[Any]], fill: int) -> Tensor:
        table = np.full(real.shape, fill, dtype=np.int64)
        table[real] = np.concatenate(values)
        return torch.from_numpy(table)

    input_ids = padded(rows, padding(tokenizer))
    special = np.isin(input_ids.numpy(), tokenizer.all_special_ids) | ~real
    batch = {
        "input_ids": input_ids,
        "attention_mask": torch.from_numpy(real.astype(np.int64)),
        "special_tokens_mask": torch.from_numpy(special.astype(np.int64)),
        "example_ids": torch.tensor(list(indices)),
    }
    if isinstance(encoded, Encoded):
        if encoded.segments is not None:
            batch["token_type_ids"] = padded([np.asarray(encoded.segments[index]) for index in indices], 0)
        return batch
    if "token_type_ids" in tokenizer.model_input_names:
        batch["token_type_ids"] = torch.zeros_like(input_ids)
    if encoded.words:
        batch["word_starts"] = padded([encoded.word_starts(index) for index in indices], 0)
    if encoded.packed:
        numbers = [np.zeros(size, dtype=np.int64) for size in sizes]
        for number, index in zip(numbers, indices, strict=True):
            number[encoded.starts(index)] = 1
        batch["document_ids"] = padded([np.cumsum(number) for number in numbers], 0)
    return batch


def padding(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that pads a row; if the tokenizer (of a decoder) has no padding token, any id, since it is masked out."""
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(token for token in candidates if token is not None)
