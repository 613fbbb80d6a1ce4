"""Unlabelled text for pretraining: read, cleaned of duplicates and of what must not be seen, and split by hash.

A corpus is never held as Python strings: texts go through Arrow files and are memory-mapped, and what stays in memory
is 32 bytes of digests a document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from adapt.config import ConfigError, CorpusConfig
from adapt.data import pydoc
from adapt.data.arrow import Texts, TextWriter, write_texts
from adapt.data.files import find_files, read_rows, text_column
from adapt.data.leakage import BannedTexts
from adapt.data.near_duplicates import NearDuplicates
from adapt.data.text import digest, hash_share, normalise

VERSION = 2


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and documents to measure on; ``dropped``: how many were left out, by reason.

    The documents of a corpus that was read or loaded are memory-mapped: len, iteration and [i] work; never make a list
    of a large one.
    """

    train: Sequence[str]
    heldout: Sequence[str]
    dropped: dict[str, int]


@dataclass(frozen=True)
class Spooled:
    """The long enough documents of a source in a file, and what tells two of them apart."""

    texts: Texts
    order: NDArray[np.int64]
    """Rows by the hash of their text."""
    forms: NDArray[np.uint64]
    """[N, 2]: digest of each row's normalised text."""
    read: int


def read_corpus(cfg: CorpusConfig, banned: Iterable[str], key: str = "corpus") -> Corpus:
    """Read a corpus and leave out, counting each: short documents, duplicates, those with a banned text, the surplus.

    Duplicates and banned texts are recognised in normalised form, a banned text also inside a document (see
    BannedTexts); near duplicates, where ``cfg.near_duplicates`` asks for it, by their shingles (see NearDuplicates).
    Order, held-out part and ``max_documents`` depend on each text's hash alone. Raises ConfigError when nothing
    remains; it names the setting under ``key``: corpus or general.
    """
    found = spool(cfg, key)
    different = found.order[first_of_each(found.forms[found.order])]
    forbidden = BannedTexts(banned)
    near = None if cfg.near_duplicates is None else NearDuplicates(cfg.near_duplicates, found.texts)
    dropped = {"short": found.read - len(found.texts), "duplicate": len(found.texts) - len(different), "banned": 0}
    dropped |= {"near_duplicate": 0} if near else {}
    allowed: list[tuple[int, bool]] = []
    for row in different.tolist():
        text = found.texts[row]
        if forbidden.found_in(text):
            dropped["banned"] += 1
        elif near is not None and near.met(row):
            dropped["near_duplicate"] += 1
        else:  # the share is salted, because max_documents keeps the lowest hashes
            allowed.append((row, hash_share(text, salt="heldout") < cfg.heldout_fraction))
    kept = allowed[: cfg.max_documents]
    dropped["surplus"] = len(allowed) - len(kept)
    train, heldout = (np.array([row for row, out in kept if out is part], dtype=np.int64) for part in (False, True))
    corpus = Corpus(found.texts.of_rows(train), found.texts.of_rows(heldout), dropped)
    _refuse_empty(cfg, corpus, found.read, key)
    return corpus


def spool(cfg: CorpusConfig, key: str) -> Spooled:
    """Write the source's long enough documents to a temporary file, in the order that they come in."""
    scratch = TemporaryDirectory(prefix="adapt-corpus-")
    file = Path(scratch.name) / "texts.arrow"
    shares, forms, read = bytearray(), bytearray(), 0
    with TextWriter(file) as writer:
        for text in _source(cfg, key):
            read += 1
            if len(text.split()) >= max(1, cfg.min_words):  # a blank one is no document
                writer.add(text)
                shares += digest(text)[:16]
                forms += digest(normalise(text))[:16]
    by_share = np.frombuffer(bytes(shares), ">u8").reshape(-1, 2)
    order = np.lexsort((by_share[:, 1], by_share[:, 0])).astype(np.int64)
    return Spooled(Texts(file, scratch=scratch), order, np.frombuffer(bytes(forms), ">u8").reshape(-1, 2), read)


def first_of_each(forms: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each row [N, 2] is the first of those that are equal to it."""
    together = np.lexsort((forms[:, 1], forms[:, 0]))  # stable: equal rows stay in their order
    first = np.ones(len(forms), dtype=bool)
    repeated = (forms[together[1:]] == forms[together[:-1]]).all(axis=1)
    first[together[1:][repeated]] = False
    return first


def check_corpus(cfg: CorpusConfig, key: str = "corpus") -> None:
    """The cheap checks: packages or files are there, and the first row has the text column.

    Raises ConfigError that names the setting under ``key``: corpus or general.
    """
    if cfg.format == "pydoc":
        pydoc.check(cfg.domain)
        return
    for file in corpus_files(cfg, key):
        for row in read_rows(file):
            text_column(row, cfg.text_column, f"{key}.text_column")
            return
    raise ConfigError(f"{key}.path={cfg.path}: no text in it")


def corpus_files(cfg: CorpusConfig, key: str = "corpus") -> list[Path]:
    """The files of a corpus, sorted; none for a pydoc corpus. Raises ConfigError when there is none to read."""
    if cfg.format == "pydoc":
        return []
    if cfg.format != "files":
        raise ConfigError(f"{key}.format={cfg.format}: possible are pydoc, files")
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


def _source(cfg: CorpusConfig, key: str) -> Iterator[str]:
    if cfg.format == "pydoc":
        yield from pydoc.corpus(str(cfg.domain))
        return
    for file in corpus_files(cfg, key):
        for row in read_rows(file):
            text = text_column(row, cfg.text_column, f"{key}.text_column")
            if "\0" in text:  # valid UTF-8, but what a program writes and no person
                raise ConfigError(
                    f"{row[0]}: holds the byte 0, so it is binary and no text ({key}.path={cfg.path}); "
                    "give text files, or take this one out of the folder"
                )
            yield text


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
