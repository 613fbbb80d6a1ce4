"""Unlabelled text for pretraining: read, cleaned of duplicates and of what must not be seen, and split by hash."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adapt.config import ConfigError, CorpusConfig
from adapt.data import pydoc
from adapt.data.files import find_files, read_rows, text_column
from adapt.data.leakage import BannedTexts
from adapt.data.text import distinct, hash_share, in_hash_order

VERSION = 1


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and documents to measure on; ``dropped``: how many were left out, by reason."""

    train: list[str]
    heldout: list[str]
    dropped: dict[str, int]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Documents, words and characters of each part."""
        return {
            name: {
                "documents": len(texts),
                "words": sum(len(text.split()) for text in texts),
                "characters": sum(map(len, texts)),
            }
            for name, texts in (("train", self.train), ("heldout", self.heldout))
        }


def read_corpus(cfg: CorpusConfig, banned: Iterable[str]) -> Corpus:
    """Read a corpus and leave out, counting each: short documents, duplicates, those with a banned text, the surplus.

    Duplicates and banned texts are recognised in normalised form, a banned text also inside a document (see
    BannedTexts). Order, held-out part and ``max_documents`` depend on each text's hash alone. Raises ConfigError when
    nothing remains.
    """
    texts = pydoc.corpus(str(cfg.domain)) if cfg.format == "pydoc" else _from_files(cfg)
    long_enough = [text for text in texts if len(text.split()) >= cfg.min_words]
    different = list(distinct(in_hash_order(long_enough, str), str))
    forbidden = BannedTexts(banned)
    allowed = [text for text in different if not forbidden.found_in(text)]
    kept = allowed[: cfg.max_documents]
    dropped = {
        "short": len(texts) - len(long_enough),
        "duplicate": len(long_enough) - len(different),
        "banned": len(different) - len(allowed),
        "surplus": len(allowed) - len(kept),
    }
    # Salted, because max_documents keeps the lowest hashes.
    heldout = [text for text in kept if hash_share(text, salt="heldout") < cfg.heldout_fraction]
    measured = set(heldout)
    corpus = Corpus([text for text in kept if text not in measured], heldout, dropped)
    _refuse_empty(cfg, corpus, len(texts))
    return corpus


def check_corpus(cfg: CorpusConfig) -> None:
    """The cheap checks: packages or files are there, and the first row has the text column. Raises ConfigError."""
    if cfg.format == "pydoc":
        pydoc.check(cfg.domain)
        return
    for file in corpus_files(cfg):
        for row in read_rows(file):
            text_column(row, cfg.text_column, "corpus.text_column")
            return
    raise ConfigError(f"corpus.path={cfg.path}: no text in it")


def corpus_files(cfg: CorpusConfig) -> list[Path]:
    """The files of a corpus, sorted; none for a pydoc corpus. Raises ConfigError when there is none to read."""
    if cfg.format == "pydoc":
        return []
    if cfg.format != "files":
        raise ConfigError(f"corpus.format={cfg.format}: possible are pydoc, files")
    assert cfg.path is not None
    return find_files("corpus.path", cfg.path)


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """Write train.jsonl, heldout.jsonl and report.json (counts, dropped) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in (("train", corpus.train), ("heldout", corpus.heldout)):
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as stream:
            stream.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    description = {**corpus.counts, "dropped": corpus.dropped}
    (folder / "report.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load_corpus(folder: Path) -> Corpus:
    """Read back what write_corpus wrote."""
    train, heldout = (
        [columns["text"] for _, columns in read_rows(folder / f"{name}.jsonl")] for name in ("train", "heldout")
    )
    return Corpus(train, heldout, json.loads((folder / "report.json").read_text(encoding="utf-8"))["dropped"])


def _from_files(cfg: CorpusConfig) -> list[str]:
    return [
        text_column(row, cfg.text_column, "corpus.text_column") for file in corpus_files(cfg) for row in read_rows(file)
    ]


def _refuse_empty(cfg: CorpusConfig, corpus: Corpus, read: int) -> None:
    left_out = ", ".join(f"{count} {reason}" for reason, count in corpus.dropped.items())
    source = f"corpus.path={cfg.path}" if cfg.path else f"corpus={cfg.name}"
    if not corpus.train:
        raise ConfigError(f"{source}: no document to train on; {read} read, left out: {left_out}")
    if not corpus.heldout:
        raise ConfigError(
            f"corpus.heldout_fraction={cfg.heldout_fraction}: none of {len(corpus.train)} documents is held out; "
            "give a larger fraction or more text"
        )
