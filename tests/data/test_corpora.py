from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.config import ConfigError, CorpusConfig
from adapt.data.corpora import (
    Corpus,
    check_corpus,
    load_corpus,
    read_corpus,
    write_corpus,
)
from adapt.data.spool import first_of_each
from adapt.data.text import digest, in_hash_order, normalise

Write = Callable[[str, Any], Path]
Config = Callable[..., CorpusConfig]

TEXTS = [f"This is document number {number} of the corpus, and it is about something." for number in range(100)]


@pytest.fixture
def documents(write: Write) -> None:
    write("a.jsonl", [{"text": text} for text in TEXTS[:60]])
    write("b.txt", "\n".join(TEXTS[60:]))


@pytest.mark.usefixtures("documents")
def test_every_document_is_in_one_part(corpus_config: Config) -> None:
    corpus = read_corpus(corpus_config(), [])
    assert sorted([*corpus.train, *corpus.heldout]) == sorted(TEXTS)
    assert 8 <= len(corpus.heldout) <= 32  # 20 expected, three standard deviations
    assert corpus.dropped == {"short": 0, "duplicate": 0, "banned": 0, "surplus": 0}


@pytest.mark.usefixtures("documents")
def test_parts_depend_on_the_text_alone(corpus_config: Config, write: Write) -> None:
    before = read_corpus(corpus_config(), [])
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    write("a.jsonl", [{"text": text} for text in shuffled[:10]])
    write("b.txt", "\n".join(shuffled[10:]))
    assert read_corpus(corpus_config(), []) == before
    assert list(before.train) == [text for text in in_hash_order(TEXTS, str) if text in set(before.train)]
    write("b.txt", "\n".join(shuffled[10:50]))
    fewer = read_corpus(corpus_config(), [])
    assert set(fewer.heldout) < set(before.heldout) and set(fewer.train) < set(before.train)


@pytest.mark.usefixtures("documents")
def test_max_documents_takes_a_nested_sample_of_both_parts(corpus_config: Config) -> None:
    before = read_corpus(corpus_config(), [])
    fewer = read_corpus(corpus_config(max_documents=40), [])
    assert len(fewer.train) + len(fewer.heldout) == 40 and fewer.dropped["surplus"] == 60
    assert set(fewer.train) < set(before.train) and set(fewer.heldout) < set(before.heldout)
    assert 2 <= len(fewer.heldout) <= 16  # a hash shared by both choices would hold out 20, or none


def test_short_documents_and_duplicates_are_dropped_and_counted(corpus_config: Config, write: Write) -> None:
    lines = [*TEXTS, "Too short.", TEXTS[0].upper(), TEXTS[1].replace(" ", ", ")]
    write("a.txt", "\n".join(lines))
    corpus = read_corpus(corpus_config(min_words=3), [])
    assert sorted(map(normalise, [*corpus.train, *corpus.heldout])) == sorted(map(normalise, TEXTS))
    write("a.txt", "\n".join(reversed(lines)))
    assert read_corpus(corpus_config(min_words=3), []) == corpus
    assert corpus.dropped == {"short": 1, "duplicate": 2, "banned": 0, "surplus": 0}


@pytest.mark.usefixtures("documents")
def test_documents_with_a_banned_text_are_dropped_and_counted(corpus_config: Config) -> None:
    inside = "<< document >> number 7 of the [[ corpus ]], and it is about"
    corpus = read_corpus(
        corpus_config(), [inside, TEXTS[8].lower(), "it is about", "Nothing of the kind stands in it."]
    )
    assert set(TEXTS) - {*corpus.train, *corpus.heldout} == {TEXTS[7], TEXTS[8]}
    assert corpus.dropped["banned"] == 2


@pytest.mark.usefixtures("documents")
def test_a_corpus_folder_reads_back(corpus_config: Config, tmp_path: Path) -> None:
    corpus = read_corpus(corpus_config(), [])
    write_corpus(corpus, tmp_path / "out")
    assert load_corpus(tmp_path / "out") == corpus
    description = json.loads((tmp_path / "out" / "report.json").read_text())
    assert description["train"] == {
        "documents": len(corpus.train),
        "words": 13 * len(corpus.train),
        "characters": sum(map(len, corpus.train)),
    }
    assert description["dropped"] == corpus.dropped


def test_line_separators_inside_a_text_survive(tmp_path: Path) -> None:
    corpus = Corpus(["one\u2028two\x85three\nfour\rfive"], ["größe"], {})
    write_corpus(corpus, tmp_path)
    assert load_corpus(tmp_path) == corpus


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"path": "/nowhere/text.jsonl"}, r"corpus\.path=/nowhere/text\.jsonl: no such file or folder; there is no"),
        ({"text_column": "body"}, r"a\.jsonl:1: no column 'body' \(corpus\.text_column=body\); it has 'text'"),
        ({"format": "xml"}, r"corpus\.format=xml: possible are pydoc, files, hub"),
        ({"format": "pydoc", "domain": "x"}, r"corpus\.domain=x: no such domain; possible: scientific, general"),
    ],
)  # fmt: skip
def test_what_is_refused_before_training(corpus_config: Config, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_corpus(corpus_config(**changes))
    with pytest.raises(ConfigError, match=message):
        read_corpus(corpus_config(**changes), [])


def test_an_empty_corpus(corpus_config: Config, write: Write) -> None:
    write("a.txt", "\n\n")
    for function in (check_corpus, lambda config: read_corpus(config, [])):
        with pytest.raises(ConfigError, match=r"corpus\.path=.*: no "):
            function(corpus_config())


def test_a_corpus_of_which_nothing_remains_says_why(corpus_config: Config, write: Write) -> None:
    write("a.txt", "\n".join(["one", "one two three", "One two three."]))
    with pytest.raises(
        ConfigError, match="no document to train on; 3 read, left out: 1 short, 0 duplicate, 2 banned, 0 surplus"
    ):
        read_corpus(corpus_config(min_words=2), ["one two three"])


@pytest.mark.usefixtures("documents")
def test_no_held_out_document(corpus_config: Config) -> None:
    with pytest.raises(ConfigError, match="corpus.heldout_fraction=1e-09: none of 100 documents is held out"):
        read_corpus(corpus_config(heldout_fraction=1e-9), [])


@pytest.mark.parametrize(("name", "broken"), [("a.txt", b"text\x00more text"), ("a.txt", b"\x7fELF\x02\xff\xfe")])
def test_binary_is_refused(corpus_config: Config, write: Write, name: str, broken: bytes) -> None:
    write(name, broken)
    with pytest.raises(ConfigError, match=r"a\.txt:1: (holds the byte 0.*general\.path=.*give text|not UTF-8 at byte)"):
        read_corpus(corpus_config(), [], "general")


def test_blank_texts_are_no_documents(corpus_config: Config, write: Write) -> None:
    write("a.jsonl", [{"text": text} for text in [*TEXTS, " ", "\n\t", ""]])
    corpus = read_corpus(corpus_config(min_words=0), [])
    assert corpus.dropped["short"] == 3 and len(corpus.train) + len(corpus.heldout) == len(TEXTS)


def test_an_enormous_line_is_one_document(corpus_config: Config, write: Write) -> None:
    line = " ".join(f"word{number}" for number in range(500_000))  # 5 MB
    write("a.txt", "\n".join([*TEXTS, line]))
    corpus = read_corpus(corpus_config(), [])
    assert sum(text == line for text in [*corpus.train, *corpus.heldout]) == 1


def test_errors_name_the_setting_of_the_general_text(corpus_config: Config, write: Write) -> None:
    write("a.txt", "one")
    with pytest.raises(ConfigError, match=r"general\.path=.*: no document to train on; 1 read"):
        read_corpus(corpus_config(min_words=5), [], "general")


@pytest.mark.usefixtures("documents")
def test_a_corpus_is_read_as_a_sequence_and_written_with_the_same_bytes(corpus_config: Config, tmp_path: Path) -> None:
    corpus = read_corpus(corpus_config(), [])
    texts = list(corpus.train)
    assert [corpus.train[number] for number in range(len(texts))] == texts and corpus.train[-1] == texts[-1]
    assert corpus.train[2:5] == texts[2:5] and len(corpus.train) == len(texts)
    assert corpus.train != texts[:-1] and corpus.train != texts[::-1] and corpus.train == texts
    with pytest.raises(IndexError):
        corpus.train[len(texts)]
    write_corpus(corpus, tmp_path / "one")
    write_corpus(Corpus(texts, list(corpus.heldout), corpus.dropped), tmp_path / "other")
    for name in ("train.arrow", "heldout.arrow", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_near_duplicates_are_dropped_and_counted(corpus_config: Config, write: Write) -> None:
    words = [f"w{number}" for number in range(104)]  # 100 5-grams
    one = " ".join(words)
    near = " ".join([*words[:102], "x", "y"])  # 98 of 102 5-grams shared
    far = " ".join([*words[:54], *(f"v{number}" for number in range(50))])  # 50 of 150
    lines = [one, near, far, *TEXTS]
    corpora_read = []
    for order in (lines, lines[::-1]):
        write("a.txt", "\n".join(order))
        corpora_read.append(read_corpus(corpus_config(near_duplicates=0.9), []))
    assert corpora_read[0] == corpora_read[1]
    kept = {*corpora_read[0].train, *corpora_read[0].heldout}
    first = min((one, near), key=digest)  # by hash order
    assert {one, near, far} & kept == {first, far}
    assert corpora_read[0].dropped["near_duplicate"] == 1  # all of TEXTS stays: they share 4 of 9 5-grams
    assert set(TEXTS) <= kept
    assert "near_duplicate" not in read_corpus(corpus_config(), []).dropped


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_the_first_of_equal_rows_is_found(rows: list[tuple[int, int]]) -> None:
    forms = np.array(rows, dtype=np.uint64).reshape(-1, 2)
    assert first_of_each(forms).tolist() == [row not in rows[:number] for number, row in enumerate(rows)]
