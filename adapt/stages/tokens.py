"""The token stage: a corpus as token ids, made once for each text, tokenizer and sequence format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt.config import ConfigError, RuntimeConfig
from adapt.data import corpora
from adapt.data.tokens import tokens as token_files
from adapt.data.tokens.pieces import SequenceFormat
from adapt.data.tokens.unknown import Gauge
from adapt.models import loading
from adapt.table import reading

KEY_NAME = "stages.tokens"
VERSION = 2


def tokens(
    argument: None,
    inputs: dict[str, Path],
    out: Path,
    runtime: RuntimeConfig,
    *,
    max_length: int,
    packing: bool,
    words: bool,
) -> list[dict[str, Any]]:
    """Tokenise ``inputs["text"]`` (a corpus folder) with the tokenizer of ``inputs["tokenizer"]`` (any model folder).

    words: record which tokens begin a word, for whole-word masking. Rows: what the tokenizer knows of the texts.
    Raises ConfigError if no text remains to train or to measure on.
    """
    text = corpora.load_corpus(inputs["text"])
    tokenizer = loading.load_tokenizer(inputs["tokenizer"])
    sequence_format = SequenceFormat(max_length, packing, words)
    parts = {"train": text.train, "heldout": text.heldout}
    known = token_files.write_folder(out, tokenizer, parts, sequence_format)
    written = token_files.load_tokens(out)
    if not len(written.train):
        raise ConfigError(f"no text to train on: all {len(text.train)} were left out or have no token; {why(text)}")
    if not len(written.heldout):
        raise ConfigError(
            f"no held-out text to measure on: {len(text.heldout)} documents, without a token; {why(text)}; "
            "for a corpus give more text or a larger heldout_fraction, for a task a dev split that does not copy train"
        )
    gauge = Gauge(tokenizer)
    return [
        row
        for name, each in known.items()
        for row in reading.rows(
            name,
            each,
            examples=each.texts,
            truncated=0,
            has_bytes=gauge.has_bytes,
            by_characters=gauge.by_characters,
        )
    ]


def why(text: corpora.Corpus) -> str:
    """The clause of an error message that says what the corpus stage left out."""
    left_out = ", ".join(f"{count} {reason}" for reason, count in text.dropped.items())
    return f"left out before: {left_out or 'none'}"
