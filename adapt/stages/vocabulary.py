"""Vocabulary extension: the base model gets tokens for the words of a text that its tokenizer splits most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

from adapt.config import ConfigError, RuntimeConfig, VocabularyConfig
from adapt.data import corpora
from adapt.models import heads, loading, weights
from adapt.models.vocabulary import (
    extend_tokenizer,
    extend_weights,
    fertility,
    occurrences,
    tables,
    words_in_use,
)
from adapt.table.measurement import measurement

KEY_NAME = "stages.vocabulary"
VERSION = 1
MEASURED_TEXTS = 10_000  # fertility is measured on the first texts of a part, which are a sample by hash


def vocabulary(
    cfg: VocabularyConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig
) -> list[dict[str, Any]]:
    """Extend the model of ``inputs["model"]`` for the training part of ``inputs["text"]``; save it into ``out``.

    ``vocabulary.json`` in the same folder lists the new tokens with their counts and former pieces. Returns how many
    there are and, for the training and the held-out part, how many of them occur in it (``tokens_used``) and the
    fertility (tokens per word) before and after.
    """
    text = corpora.load_corpus(inputs["text"])
    tokenizer = loading.load_tokenizer(inputs["model"])
    model, missing = load_language_model(inputs["model"])
    table_size = len(tables(model)[0])
    if len(tokenizer) > table_size:
        raise ConfigError(
            f"{inputs['model']}: its tokenizer has {len(tokenizer)} tokens, its model only {table_size}; give the "
            "tokenizer that the model was trained with"
        )
    words = words_in_use(inputs["model"], text.train, cfg)
    if not words:
        raise ConfigError(
            "vocabulary.new_tokens: the tokenizer writes none of the new words in the text that they are from, because "
            "it ends words elsewhere; set vocabulary=none"
        )
    pieces = {word.token: tokenizer.convert_ids_to_tokens(list(word.pieces)) for word in words}
    measured = {"train": beginning(text.train), "heldout": beginning(text.heldout)}
    before = {part: fertility(tokenizer, texts) for part, texts in measured.items()}
    ids = extend_tokenizer(tokenizer, [word.token for word in words], out)
    extend_weights(model, dict(zip(ids, (word.pieces for word in words), strict=True)))
    model.save_pretrained(out, state_dict=without(model.state_dict(), missing))
    heads.make_relocatable(out)
    record = [
        {"token": word.token, "id": number, "occurrences": word.occurrences, "pieces": pieces[word.token]}
        for word, number in zip(words, ids, strict=True)
    ]
    (out / "vocabulary.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    extended = loading.load_tokenizer(out)
    rows = [measurement("train", "tokens_added", len(words))]
    for part, texts in {"train": text.train, "heldout": text.heldout}.items():
        used = sum(times > 0 for times in occurrences(extended, ids, texts))
        rows.append(measurement(part, "tokens_used", used, n=len(words)))
    for part, texts in measured.items():
        rows.append(measurement(part, "fertility_before", before[part], n=len(texts)))
        rows.append(measurement(part, "fertility", fertility(extended, texts), n=len(texts)))
    return rows


def load_language_model(folder: Path) -> tuple[PreTrainedModel, list[str]]:
    """The masked LM of a folder, or the causal LM if its architecture has no masked one; and its missing weights."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    kind: Any = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    return weights.opened(kind, folder)


def without(weights: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The weights without those of a head that the parent lacks, so that the child still counts it as new."""
    return {name: weight for name, weight in weights.items() if name not in names}


def beginning(texts: Sequence[str]) -> list[str]:
    """The first MEASURED_TEXTS texts."""
    return [texts[index] for index in range(min(len(texts), MEASURED_TEXTS))]
