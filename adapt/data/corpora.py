"""Unlabelled text for pretraining: read, cleaned of duplicates and of what must not be seen, and split by hash.

A corpus is never held as Python strings: texts go through Arrow files and are memory-mapped, and what stays in memory
is 32 bytes of digests a document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from adapt.config import ConfigError, CorpusConfig
from adapt.data import hub
from adapt.data.arrow import Texts, write_texts
from adapt.data.files import find_files, read_rows, text_column
from adapt.data.leakage import BannedTexts
from adapt.data.near_duplicates import NearDuplicates
from adapt.data.pydoc import corpus as pydoc
from adapt.data.spool import Spool
from adapt.data.text import hash_share

KEY_NAME = "data.corpora"
VERSION = 3
_answered: set[tuple[str, str]] = set()  # datasets on the hub, and the column, that this process has asked for a row


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and documents to measure on; ``dropped``: how many were left out, by reason.

    The documents of a corpus that was read or loaded are memory-mapped: len, iteration and [i] work; never make a list
    of a large one.
    """

    train: Sequence[str]
    heldout: Sequence[str]
    dropped: dict[str, int]


def read_corpus(cfg: CorpusConfig, banned: Iterable[str], key: str = "corpus", *, progress: bool = False) -> Corpus:
    """Read a corpus and leave out, counting each: short documents, duplicates, those with a banned text, the surplus.

    Duplicates and banned texts are recognised in normalised form, a banned text also inside a document (see
    BannedTexts); near duplicates, where ``cfg.near_duplicates`` asks for it, by their shingles (see NearDuplicates).
    Order, held-out part and ``max_documents`` depend on each text's hash alone. Once ``max_documents`` are found the
    rest is surplus, and not looked at; near duplicates apart, it never comes to the disk either (see Spool). Raises
    ConfigError when nothing remains; it names the setting under ``key``: corpus or general.
    """
    forbidden = BannedTexts(banned)

    def fault(text: str) -> str | None:
        return "banned" if forbidden.found_in(text) else None

    # What is near a text of a lower place depends on all that come by, so that none can be left out before
    spool = Spool(cfg.max_documents if cfg.near_duplicates is None else None, fault)
    read = short = 0
    for text in tqdm(raw_texts(cfg, key), desc=key, disable=not progress, leave=False, unit=" documents"):
        read += 1
        if len(text.split()) >= max(1, cfg.min_words):  # a blank one is no document
            spool.add(text)
        else:
            short += 1
    found = spool.close()
    near = None if cfg.near_duplicates is None else NearDuplicates(cfg.near_duplicates, found.texts)

    def nearness(row: int) -> str | None:
        return "near_duplicate" if near is not None and near.met(row) else None

    kept, left_out = found.chosen(cfg.max_documents, lambda row: fault(found.texts[row]), nearness)
    reasons = ("duplicate", "banned", "near_duplicate") if near else ("duplicate", "banned")
    counts = spool.dropped(found, kept, left_out)
    dropped = {"short": short} | {reason: counts[reason] for reason in reasons}
    dropped["surplus"] = read - len(kept) - sum(dropped.values())
    # the share is salted, because max_documents keeps the lowest hashes
    held_out = [hash_share(found.texts[row], salt="heldout") < cfg.heldout_fraction for row in kept]
    train, heldout = (
        np.array([row for row, out in zip(kept, held_out, strict=True) if out is part], dtype=np.int64)
        for part in (False, True)
    )
    corpus = Corpus(found.texts.of_rows(train), found.texts.of_rows(heldout), dropped)
    _refuse_empty(cfg, corpus, read, key)
    return corpus


def raw_texts(cfg: CorpusConfig, key: str = "corpus") -> Iterator[str]:
    """The documents of a source one by one, unfiltered, in the order in which it has them. Raises ConfigError."""
    if cfg.format == "pydoc":
        yield from pydoc.corpus(str(cfg.domain))
        return
    on_disk = (row for file in corpus_files(cfg, key) for row in read_rows(file))
    for row in hub.rows(cfg, key) if cfg.format == "hub" else on_disk:
        text = text_column(row, cfg.text_column, f"{key}.text_column")
        if "\0" in text:  # valid UTF-8, but what a program writes and no person
            raise ConfigError(
                f"{row[0]}: holds the byte 0, so it is binary and no text ({key}.path={cfg.path}); "
                "give text files, or take this one out of the folder"
            )
        yield text


def check_corpus(cfg: CorpusConfig, key: str = "corpus") -> None:
    """The cheap checks: packages or files are there, and the first row has the text column.

    Raises ConfigError that names the setting under ``key``: corpus or general.
    """
    if cfg.format == "pydoc":
        pydoc.check(cfg.domain)
        return
    remote = cfg.format == "hub" and not corpus_files(cfg, key)
    if remote and cfg.revision is None:
        raise ConfigError(
            f"{key}.revision=null: the text of a dataset on the hub can change; give the commit that is meant, as its "
            "page lists them"
        )
    asked = (hub.identity(cfg), cfg.text_column)
    if remote and asked in _answered:
        return
    if next(raw_texts(cfg, key), None) is None:
        raise ConfigError(f"{key}.path={cfg.path}: no text in it")
    if remote:
        _answered.add(asked)


def corpus_files(cfg: CorpusConfig, key: str = "corpus") -> list[Path]:
    """The files of a corpus, sorted; none of packages or on the hub. Raises ConfigError when there is none to read."""
    if cfg.format == "pydoc":
        return []
    if cfg.format == "hub":
        return hub.local_files(cfg)
    if cfg.format != "files":
        raise ConfigError(f"{key}.format={cfg.format}: possible are pydoc, files, hub")
    assert cfg.path is not None
    return find_files(f"{key}.path", cfg.path)


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """Write train.arrow, heldout.arrow and report.json (counts, dropped) into a folder; plain lists will do."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (("train", corpus.train), ("heldout", corpus.heldout))
    counts = {name: write_texts(folder / f"{name}.arrow", texts) for name, texts in parts}
    description = {**counts, "dropped": corpus.dropped}
    (folder / "report.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load_corpus(folder: Path) -> Corpus:
    """What write_corpus wrote, memory-mapped."""
    dropped = json.loads((folder / "report.json").read_text(encoding="utf-8"))["dropped"]
    return Corpus(Texts(folder / "train.arrow"), Texts(folder / "heldout.arrow"), dropped)


def _refuse_empty(cfg: CorpusConfig, corpus: Corpus, read: int, key: str) -> None:
    left_out = ", ".join(f"{count} {reason}" for reason, count in corpus.dropped.items())
    source = f"{key}.path={cfg.path}" if cfg.path else f"{key}={cfg.name}"
    if not corpus.train:
        raise ConfigError(f"{source}: no document to train on; {read} read, left out: {left_out}")
    if not corpus.heldout:
        raise ConfigError(
            f"{key}.heldout_fraction={cfg.heldout_fraction}: none of {len(corpus.train)} documents is held out; "
            "give a larger fraction or more text"
        )
