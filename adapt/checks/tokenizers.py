"""Refuse a tokenizer that does not fit its network: ids without an embedding, segments, and what a [CLS] head reads."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import MISSING
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from adapt.config import Config, ConfigError
from adapt.data.tasks import KINDS as TASK_KINDS
from adapt.data.tokens.batching import encode
from adapt.data.tokens.pieces import SpecialTokens
from adapt.models.decoders import is_decoder
from adapt.models.segments import NAME, reads_segments, segments

log = logging.getLogger(__name__)


def check_ids(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ConfigError for a token whose id is beyond the network's last embedding."""
    rows = getattr(config, "vocab_size", None)
    if rows is None:
        raise ConfigError(f"{folder}: a {config.model_type} has no embedding for each token; take another architecture")
    last, token = max((number, token) for token, number in tokenizer.get_vocab().items())
    if last >= rows:
        raise ConfigError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model only {rows} embeddings; the token "
            f"{token!r} has the id {last}. Give the tokenizer that the model was trained with"
        )


def check_segments(cfg: Config, folder: Path, encoder: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Say that a pair's segment ids are left out where the network reads none; refuse ids that it has no row for."""
    assert isinstance(encoder, PreTrainedModel)
    if cfg.task.text_pair_column is None:
        return
    given = encode(tokenizer, ["a"], 64, ["b"]).segments
    largest = max(given[0], default=0) if given else 0
    number = segments(encoder.config)
    if not reads_segments(encoder):
        if largest:
            log.info("%s: its network has one segment, so the tokenizer's %s of a pair are left out", folder, NAME)
    elif number is not None and largest >= number:
        raise ConfigError(
            f"{folder}: its tokenizer numbers the segments of a pair up to {largest}, but its network has {number} "
            "(type_vocab_size); give the tokenizer that the model was trained with"
        )


def check_first_token(cfg: Config, folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse pooling=cls where the tokenizer puts nothing before a text: the head would read its first word."""
    reads_first = getattr(config, "summary_type", "first") == "first" and (
        getattr(config, "classifier_pooling", "cls") == "cls"
    )
    of_text = TASK_KINDS[cfg.task.kind].classifies and cfg.finetune.pooling == "cls" and cfg.finetune.method == "full"
    if of_text and reads_first and not is_decoder(config) and not len(SpecialTokens.of(tokenizer).before):
        raise ConfigError(
            f"finetune.pooling=cls: the tokenizer of {folder} puts no token before a text, so the head of a "
            f"{config.model_type} would read the text's first word; set finetune.pooling=mean, or give a tokenizer "
            "whose template begins with [CLS]"
        )


def check_extension(cfg: Config, folder: Path, network: nn.Module) -> None:
    """Refuse new tokens for an architecture that has tables per token beside the embedding and the output."""
    extended = bool(cfg.pretrain) and cfg.vocabulary.new_tokens not in (0, MISSING)
    own = getattr(type(network), "resize_token_embeddings", None)
    if extended and own is not PreTrainedModel.resize_token_embeddings:
        raise ConfigError(
            f"vocabulary={cfg.vocabulary.name}: the network of {folder}, {type(network).__name__}, has further tables "
            "with a row for each token, which adapt does not extend; set vocabulary=none"
        )
