"""Unlabelled text for pretraining: read, deduplicated, cleaned of banned texts, and split into train and held-out.

A corpus is never held as Python strings: texts go through Arrow files and are memory-mapped. Only 32 bytes of digests
per document stay in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from adapt.config import ConfigError, CorpusConfig
from adapt.data import characters, hub
from adapt.data.arrow import Texts, write_texts
from adapt.data.files import find_files, read_rows, text_column
from adapt.data.leakage import BannedTexts
from adapt.data.near_duplicates import NearDuplicates
from adapt.data.pydoc import corpus as pydoc
from adapt.data.spool import Spool
from adapt.data.text import hash_share
from adapt.data.visible import is_blank

KEY_NAME = "data.corpora"
VERSION = 4
_checked: set[tuple[str, str]] = set()  # (hub dataset, text column) whose first row this process has already read


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and held-out documents to measure on; ``dropped``: how many were left out, by reason.

    A corpus that was read or loaded is memory-mapped: len, iteration and [i] work; never make a list of a large one.
    """

    train: Sequence[str]
    heldout: Sequence[str]
    dropped: dict[str, int]


def read_corpus(cfg: CorpusConfig, banned: Iterable[str], key: str = "corpus", *, progress: bool = False) -> Corpus:
    """Read a corpus without short documents, duplicates, documents with a banned text, and surplus; counts each.

    Duplicates and banned texts are recognised in normalised form, a banned text also inside a document (see
    BannedTexts). With ``cfg.near_duplicates``, near duplicates are recognised by their shingles (see NearDuplicates).
    The order, the held-out part and which ``max_documents`` are taken depend only on the hash of each text. Once there
    are ``max_documents``, the rest is surplus and is not looked at; unless near duplicates are dropped, the surplus is
    not written to disk either (see Spool). Raises ConfigError when nothing remains; the message names the setting under
    ``key``: corpus or general.
    """
    forbidden = BannedTexts(banned)

    def fault(text: str) -> str | None:
        return "banned" if forbidden.found_in(text) else None

    # Whether a text is a near duplicate depends on all texts that come before it in hash order, which are known only
    # at the end: with near duplicates the spool cannot leave out any text early.
    spool = Spool(cfg.max_documents if cfg.near_duplicates is None else None, fault)
    read = short = 0
    for text in tqdm(raw_texts(cfg, key), desc=key, disable=not progress, leave=False, unit=" documents"):
        read += 1
        if not is_blank(text) and characters.length(text) >= cfg.min_words:  # a blank text is not a document
            spool.add(text)
        else:
            short += 1
    documents = spool.close()
    near = None if cfg.near_duplicates is None else NearDuplicates(cfg.near_duplicates, documents.texts)

    def nearness(row: int) -> str | None:
        return "near_duplicate" if near is not None and near.is_near_duplicate(row) else None

    taken, left_out = documents.chosen(cfg.max_documents, lambda row: fault(documents.texts[row]), nearness)
    reasons = ("duplicate", "banned", "near_duplicate") if near else ("duplicate", "banned")
    counts = spool.dropped(documents, taken, left_out)
    dropped = {"short": short} | {reason: counts[reason] for reason in reasons}
    dropped["surplus"] = read - len(taken) - sum(dropped.values())
    # Salted, because max_documents takes the lowest unsalted hashes
    held_out = [hash_share(documents.texts[row], salt="heldout") < cfg.heldout_fraction for row in taken]
    train, heldout = (
        np.array([row for row, out in zip(taken, held_out, strict=True) if out is part], dtype=np.int64)
        for part in (False, True)
    )
    corpus = Corpus(documents.texts.of_rows(train), documents.texts.of_rows(heldout), dropped)
    _refuse_empty(cfg, corpus, read, key)
    return corpus


def raw_texts(cfg: CorpusConfig, key: str = "corpus") -> Iterator[str]:
    """The documents of a source one by one, unfiltered, in the source's order. Raises ConfigError."""
    if cfg.format == "pydoc":
        yield from pydoc.corpus(str(cfg.domain))
        return
    on_disk = (row for file in corpus_files(cfg, key) for row in read_rows(file))
    for row in hub.rows(cfg, key) if cfg.format == "hub" else on_disk:
        text = text_column(row, cfg.text_column, f"{key}.text_column")
        if "\0" in text:  # valid UTF-8, but a sign of binary data
            raise ConfigError(
                f"{row[0]}: holds the byte 0, so it is binary data, not text ({key}.path={cfg.path}); "
                "give text files, or take this one out of the folder"
            )
        yield text


def check_corpus(cfg: CorpusConfig, key: str = "corpus") -> None:
    """Check cheaply that the packages or files exist and that the first row has the text column.

    Raises ConfigError that names the setting under ``key``: corpus or general.
    """
    if cfg.format == "pydoc":
        pydoc.check(cfg.domain)
        return
    remote = cfg.format == "hub" and not corpus_files(cfg, key)
    if remote and cfg.revision is None:
        raise ConfigError(
            f"{key}.revision=null: the text of a dataset on the hub can change; give the commit that you mean (the "
            "dataset's page lists them)"
        )
    source = (hub.address(cfg), cfg.text_column)
    if remote and source in _checked:
        return
    if next(raw_texts(cfg, key), None) is None:
        raise ConfigError(f"{key}.path={cfg.path}: no text in it")
    if remote:
        _checked.add(source)


def corpus_files(cfg: CorpusConfig, key: str = "corpus") -> list[Path]:
    """The files of a corpus, sorted; none if it is read from packages or from the hub.

    Raises ConfigError when there is no readable file.
    """
    if cfg.format == "pydoc":
        return []
    if cfg.format == "hub":
        return hub.local_files(cfg)
    if cfg.format != "files":
        raise ConfigError(f"{key}.format={cfg.format}: possible are pydoc, files, hub")
    assert cfg.path is not None
    return find_files(f"{key}.path", cfg.path)


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """Write train.arrow, heldout.arrow and report.json (counts, dropped) into a folder; lists of texts work too."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = (("train", corpus.train), ("heldout", corpus.heldout))
    counts = {name: write_texts(folder / f"{name}.arrow", texts) for name, texts in parts}
    description = {**counts, "dropped": corpus.dropped}
    (folder / "report.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load_corpus(folder: Path) -> Corpus:
    """Load a corpus that write_corpus wrote, memory-mapped."""
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
