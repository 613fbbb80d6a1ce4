from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.config import ConfigError
from adapt.data.corpora import Corpus
from adapt.data.kinds.classification import Example
from adapt.data.leaks.overlap import OverlapSearch
from adapt.data.task_text import task_text, texts_of, without_markers
from adapt.data.tasks import Task

LONG = "we measured the uptake of iron by the small fish under the old bridge"  # 14 words, 7 8-grams
Texts = list[str]


def task(train: Texts, dev: Texts = (), test: Texts = (), pair: str | None = None) -> Task:
    splits = {"train": train, "dev": dev, "test": test}
    return Task(
        ["x", "y"],
        "macro_f1",
        {name: [Example(i, text, i % 2, pair) for i, text in enumerate(texts)] for name, texts in splits.items()},
    )


def text_of(
    own: Task, more: Texts = (), banned: Task | None = None, examples: int | None = None, markers: str = "keep"
) -> Corpus:
    return task_text(own, more, examples=examples, markers=markers, banned=banned, name="mine")


def test_distinct_training_texts_and_the_dev_texts_that_are_none_of_them() -> None:
    corpus = text_of(task(["A cat.", "a dog", "a CAT", "...", "a fish"], ["A dog!", "a bird", "A bird", "a mouse"]))
    assert corpus.train == ["A cat.", "a dog", "a fish"]
    assert corpus.heldout == ["a bird", "a mouse"]
    assert corpus.dropped == {"blank": 1, "duplicate": 1, "banned": 0}


def test_as_many_examples_as_there_are_labels_for_and_more_text_after_them() -> None:
    own = task(["one", "two", "three"], ["dev"])
    assert text_of(own, examples=2).train == ["one", "two"]
    assert text_of(own, ["four", "TWO"]).train == ["one", "two", "three", "four"]


def test_what_holds_dev_or_test_text_is_dropped_or_kept() -> None:
    train = ["a cat", f"In spring, {LONG.upper()}. Then we left.", "a dog!", "gold is old", "tin"]
    own = task(train, ["A dog", "Gold is old", "iron"], [LONG])
    corpus = text_of(own, banned=own)
    assert corpus.train == ["a cat", "tin"] and corpus.dropped["banned"] == 3
    assert corpus.heldout == ["A dog", "Gold is old", "iron"]
    kept = text_of(own)
    assert kept.train == train and kept.dropped["banned"] == 0
    assert kept.heldout == ["iron"]  # the others were trained on


def test_most_of_a_test_text_is_enough_to_be_dropped() -> None:
    """13 of the 14 words hold 6 of the 7 8-grams (.86), 11 hold 4 (.57)."""
    cut = LONG.split()
    own = task([" ".join(cut[:13]), " ".join(cut[:11])], ["dev"], [LONG])
    assert text_of(own, banned=own).train == [" ".join(cut[:11])]


def test_pool_and_other_task_lose_the_text_of_the_run_s_own_task() -> None:
    own = task(["a cat"], ["a dog"], [LONG, "a bird"])
    assert text_of(own, [f"{LONG} again", "A bird.", "a horse"], banned=own).train == ["a cat", "a horse"]
    other = task(["a bird", "a horse", "a dog"], [f"so {LONG}", "a dog", "a mouse"], ["a horse"])
    corpus = text_of(other, banned=own)
    assert corpus.train == ["a horse"]  # the other task's own test text is not test text of the run
    assert corpus.heldout == [
        "a dog",
        "a mouse",
    ]  # a checkpoint may be chosen by the held-out text, so it has no test text


def test_both_texts_of_a_pair_are_trained_on_and_banned() -> None:
    own = task(["one", "both\nPAIR", "pair"], ["dev"], ["both"], pair="pair")
    assert set(texts_of(own, "test")) == {"both", "pair", "both\npair"}
    assert text_of(own, banned=own).train == ["one"]


def test_nothing_left_is_refused_with_what_to_do() -> None:
    own = task(["a dog", "A DOG", " ! "], ["a dog"], ["a cat"])
    expected = "task=mine: no text to train on: 1 of 3 training texts are blank, all 1 others hold .*leaks=keep"
    with pytest.raises(ConfigError, match=expected):
        text_of(own, banned=own)
    assert text_of(own).train == ["a dog"]


def test_markers_around_entities_are_removed_and_other_signs_are_not() -> None:
    assert without_markers("<< EGF >>R inhibits [[ COX-1 ]].") == "EGFR inhibits COX-1."
    assert without_markers("[[ << a >> b ]] c") == "a b c"
    for text in ("x >> y << z", "rank: a>b>>c", "quinazoline-2(S)- [[(1,1-dimethyl)amino]carbonyl]", "[[ open"):
        assert without_markers(text) == text


def test_a_sentence_marked_in_two_ways_is_one_text_without_its_markers() -> None:
    own = task(["<< EGF >>R binds [[ X ]]", "[[ EGFR ]] binds << X >>"], ["[[ dev ]]"], ["no"])
    assert len(text_of(own).train) == 2  # "egf r" and "egfr"
    stripped = text_of(own, banned=own, markers="strip")
    assert (stripped.train, stripped.heldout) == (["EGFR binds X"], ["dev"])


def test_marked_test_text_is_found_in_text_without_its_markers() -> None:
    own = task(["[[ EGFR ]] binds << X >>", "other"], ["dev"], ["<< EGF >>R binds [[ X ]]"])
    assert text_of(own, banned=own, markers="strip").train == ["other"]


words = st.lists(st.sampled_from(["a", "B", "b!", "...", "c", "<< a >>", "[[ b ]]"]), max_size=12).map(" ".join)
splits = st.lists(words, max_size=5)


@given(splits, splits, splits, st.lists(words, max_size=3), st.sampled_from(["keep", "strip"]))
@settings(max_examples=200, deadline=None)
def test_the_report_finds_no_dev_or_test_text_in_what_remains(
    train: Texts, dev: Texts, test: Texts, more: Texts, markers: str
) -> None:
    own = task(["quite different", *train], dev, test)
    corpus = text_of(own, more, banned=own, markers=markers)
    search = OverlapSearch([*dev, *test])
    for text in corpus.train:
        search.add(text)
    assert all(hit.first is None for hit in search.hits())  # only several texts together may hold one
    held_out = OverlapSearch(test)
    for text in corpus.heldout:
        held_out.add(text)
    assert all(hit.first is None for hit in held_out.hits())
    assert len(corpus.train) + sum(corpus.dropped.values()) == 1 + len(train) + len(more)
