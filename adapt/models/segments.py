"""Segment ids (token_type_ids): whether a network reads them."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

NAME = "token_type_ids"


def segments(config: PretrainedConfig) -> int | None:
    """How many segments a network tells apart; None where its config does not say (XLNet has any number)."""
    return getattr(config, "type_vocab_size", None)


def reads_segments(network: PreTrainedModel) -> bool:
    """Whether a network's forward takes segment ids and has more than one: RoBERTa has one, DistilBERT takes none."""
    number = segments(network.config)
    forward: Any = type(network).forward
    return _takes(forward) and (number is None or number > 1)


def readable(network: PreTrainedModel, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs without segment ids that the network does not read.

    A tokenizer gives them whatever network it is beside: BertTokenizer beside a RoBERTa with one segment, as Korean
    models are published, whose embedding has no row for the second text of a pair.
    """
    if NAME in inputs and not reads_segments(network):
        return {name: value for name, value in inputs.items() if name != NAME}
    return inputs


@cache
def _takes(forward: Any) -> bool:
    return NAME in inspect.signature(forward).parameters
