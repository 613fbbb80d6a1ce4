"""How a model will read the examples of a task: what its tokenizer knows of them, and which are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from transformers import PreTrainedTokenizerBase

from adapt.data.tokens.pieces import batches, flat_ids, neither_cut_nor_pad
from adapt.data.tokens.unknown import Gauge, Known

KEY_NAME = "data.tokens.reading"
VERSION = 1


@dataclass
class Read:
    """Some examples as they are read.

    truncated: how many are cut. unread: the numbers of those that have a text without a known token. empty: of those
    without any token, special ones included: a model has no answer to them.
    """

    known: Known
    examples: int
    truncated: int
    unread: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)


def read(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[tuple[str, ...]], max_length: int, gauge: Gauge | None = None
) -> Read:
    """Count the examples, of one or two texts each, as they are read at max_length tokens, special tokens included.

    Switches off the tokenizer's own truncation and padding.
    """
    gauge = gauge or Gauge(tokenizer)
    neither_cut_nor_pad(tokenizer)
    known, sizes, unread = Known(), [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    texts = iter([text for example in examples for text in example])
    for batch in batches(texts):
        ids, lengths = flat_ids(tokenizer, batch)
        counted, of_batch = gauge.of(batch, ids, lengths)
        known += counted
        sizes.append(lengths)
        unread.append(of_batch)
    length_of, unread_of = iter(np.concatenate(sizes).tolist()), iter(np.concatenate(unread).tolist())
    around = [0] + [tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True)]
    result = Read(known, len(examples), 0)
    for number, example in enumerate(examples):
        size = sum(islice(length_of, len(example))) + around[len(example)]
        result.truncated += size > max_length
        if any([*islice(unread_of, len(example))]):
            result.unread.append(number)
        if not size:
            result.empty.append(number)
    return result
