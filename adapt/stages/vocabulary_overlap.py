"""How many words domains share, and into how many tokens their words are split; measured before any training."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

from adapt.config import RuntimeConfig
from adapt.data import corpora
from adapt.data import vocabulary_overlap as vocabularies
from adapt.models import loading
from adapt.table.measurement import measurement

KEY_NAME = "stages.vocabulary_overlap"
VERSION = 1
log = logging.getLogger(__name__)


def vocabulary_overlap(cfg: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Rows for each pair of the corpus folders in ``inputs`` (split such as ``corpus+general``), and for each corpus.

    A pair has vocabulary_overlap, n: the number of words compared. A corpus has tokens_per_word and whole_words, n: the
    number of its running words. The lists of frequent words are written to ``out``.
    """
    folders = {name: folder for name, folder in inputs.items() if name != "tokenizer"}
    sampled = {name: vocabularies.sample(corpora.load_corpus(folder).train) for name, folder in folders.items()}
    words = {name: vocabularies.frequent_words(texts) for name, texts in sampled.items()}
    rows = []
    for a, b in itertools.combinations(words, 2):
        if words[a] and words[b]:
            share, compared = vocabularies.overlap(words[a], words[b])
            rows.append(measurement(f"{a}+{b}", "vocabulary_overlap", share, n=compared))
    for name, frequent in words.items():
        (out / f"{name}.txt").write_text("".join(f"{word}\n" for word in frequent), encoding="utf-8")
    tokenizer = loading.load_tokenizer(inputs["tokenizer"])
    if not tokenizer.is_fast:
        log.info("words: %s does not tell where its tokens are: no tokens_per_word", type(tokenizer).__name__)
        return rows
    for name, texts in sampled.items():
        cut = vocabularies.fertility(tokenizer, vocabularies.sample(texts, vocabularies.FERTILITY_DOCUMENTS))
        rows.append(measurement(name, "tokens_per_word", cut.tokens_per_word, n=cut.words))
        rows.append(measurement(name, "whole_words", cut.whole_words, n=cut.words))
    return rows
