"""Streamed datasets. Tests have no access to the hub, so they stream a folder that the library datasets can read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapt.config import ConfigError, CorpusConfig
from adapt.data import corpora, hub, spool
from adapt.data.corpora import check_corpus, corpus_files, raw_texts, read_corpus

Write = Callable[[str, Any], Path]
Config = Callable[..., CorpusConfig]
TEXTS = [f"This is document number {number} of the dataset." for number in range(200)]


@pytest.fixture
def streamed(write: Write, corpus_config: Config) -> CorpusConfig:
    file = write("folder/train.jsonl", [{"text": text} for text in TEXTS])
    write("folder/test.jsonl", [{"text": "This one is of the test split."}])
    return corpus_config(format="hub", path=str(file.parent), split="train")


def test_a_stream_gives_its_rows_in_order(streamed: CorpusConfig) -> None:
    assert list(raw_texts(streamed)) == TEXTS
    assert [file.name for file in corpus_files(streamed)] == ["test.jsonl", "train.jsonl"]  # what its key hashes


def test_a_stream_is_the_same_corpus_as_its_files(
    streamed: CorpusConfig, corpus_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed.max_documents = 40
    monkeypatch.setattr(spool, "ROOM", 50)
    files = corpus_config(path=str(Path(str(streamed.path)) / "train.jsonl"), max_documents=40)
    from_stream = read_corpus(streamed, [])
    assert from_stream == read_corpus(files, []) and from_stream.dropped["surplus"] == 160


def test_a_dataset_on_the_hub_needs_its_revision(streamed: CorpusConfig) -> None:
    check_corpus(streamed)  # a folder needs none: its files are hashed
    streamed.path = "someone/something"
    with pytest.raises(ConfigError, match=r"general\.revision=null: .* give the commit"):
        check_corpus(streamed, "general")


def test_what_the_hub_does_not_give_is_refused_with_what_was_asked_for(streamed: CorpusConfig) -> None:
    streamed.split = "dev"
    with pytest.raises(ConfigError, match=r"corpus\.path=.*folder: the hub did not give subset None, split dev, .*dev"):
        check_corpus(streamed)


def test_a_column_that_is_not_there_is_named(streamed: CorpusConfig) -> None:
    streamed.text_column = "body"
    with pytest.raises(ConfigError, match=r"row 1: no column 'body' \(corpus\.text_column=body\); it has 'text'"):
        check_corpus(streamed)


def test_the_hub_is_asked_once_a_process(streamed: CorpusConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of a hundred jobs must not make a hundred requests; another revision or column is another request."""
    asked: list[str] = []

    def rows(cfg: CorpusConfig, key: str) -> Any:
        asked.append(f"{key} {cfg.revision}")
        yield f"{cfg.path}, row 1", {"text": "A document."}

    monkeypatch.setattr(hub, "rows", rows)
    monkeypatch.setattr(corpora, "_checked", set())
    streamed.path = "someone/something"
    for revision, key in (("a1", "corpus"), ("a1", "general"), ("b2", "corpus"), ("b2", "corpus")):
        streamed.revision = revision
        check_corpus(streamed, key)
    assert asked == ["corpus a1", "corpus b2"]
    streamed.text_column = "body"
    with pytest.raises(ConfigError, match="no column 'body'"):
        check_corpus(streamed)
