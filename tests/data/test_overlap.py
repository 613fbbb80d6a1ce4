from __future__ import annotations

import gc
import random
import re
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.config import ConfigError
from adapt.data.leaks.overlap import LEVELS, Hit, OverlapSearch, clean_examples, count

TWELVE = "one two three four five six seven eight nine ten eleven twelve"


def search(texts: Sequence[str], sources: Sequence[str], labels: Sequence[str] | None = None, **how) -> list[Hit]:
    looking = OverlapSearch(texts, **how)
    for text, label in zip(sources, labels or [None] * len(sources), strict=True):
        looking.add(text, label)
    return looking.hits()


def level_of(text: str, *sources: str, **how) -> str | None:
    hits = search([text], sources, **how)
    return hits[0].level if hits else None


def test_the_three_levels() -> None:
    assert level_of("The << drug >> works.", "other", "The << drug >> works.") == "exact"
    assert level_of("The << drug >> works.", "the DRUG: works") == "normalised"
    assert level_of(TWELVE, f"Before it, {TWELVE.upper()}; and after.") == "contained"
    assert level_of("The << drug >> works.", "the drugs work") is None


def test_a_text_of_fewer_words_than_an_n_gram_is_found_only_as_a_whole() -> None:
    seven, eight = "a b c d e f g", "a b c d e f g h"
    assert level_of(seven, f"x {seven} y") is None
    assert level_of(seven, "A b c d e f, g!") == "normalised"
    assert level_of(eight, f"x {eight} y") == "contained"


def test_nothing_but_signs_is_the_same_only_as_the_same_string() -> None:
    assert level_of("...", "!!!", "") is None
    assert level_of("...", "...") == "exact"
    for level in LEVELS:  # and each level includes the stricter ones, with their labels
        counted = count(["..."], ["x"], search(["..."], ["..."], ["x"]), level)
        assert (counted.hits, counted.same_label, counted.no_single_text) == (1, 1, 0)


def test_the_share_is_of_the_texts_own_n_grams() -> None:
    """Twelve words have 9 4-grams; a source with the first ten of the words holds 7 of them, 7 / 9 = .78."""
    ten = " ".join(TWELVE.split()[:10])
    (hit,) = search([TWELVE], [f"{ten} something else"], words=4, threshold=7 / 9)
    assert hit.level == "contained" and hit.share == 7 / 9
    assert level_of(TWELVE, ten, words=4, threshold=7 / 9 + 1e-6) is None
    nine = " ".join(TWELVE.split()[:9])  # 6 of 9
    assert level_of(TWELVE, nine, words=4, threshold=7 / 9) is None
    assert level_of(ten, TWELVE, words=4, threshold=1.0) == "contained"


def test_a_threshold_that_floats_round_is_meant_as_written() -> None:
    """0.55 x 100 = 55.00000000000001 in floats, but 55 of 100 bigrams must be enough."""
    words = [f"w{number}" for number in range(101)]
    assert 0.55 * 100 > 55
    assert level_of(" ".join(words), " ".join(words[:56]), words=2, threshold=0.55) == "contained"
    assert level_of(" ".join(words), " ".join(words[:55]), words=2, threshold=0.55) is None


def test_no_n_gram_in_common_is_never_enough() -> None:
    assert level_of(TWELVE, "something else", threshold=1e-12) is None


def test_repeated_n_grams_count_once() -> None:
    """ "a b" ten times over has two bigrams, of which "a b" is one."""
    (hit,) = search(["a b " * 10], ["x a b y"], words=2, threshold=0.5)
    assert hit.share == 0.5


def test_several_texts_together_contain_one_that_none_of_them_contains() -> None:
    words = TWELVE.split()
    halves = [" ".join(words[:8]), " ".join(words[5:])]  # of 9 4-grams: 5 and 4
    (hit,) = search([TWELVE], halves, ["x", "x"], words=4, threshold=0.9)
    assert hit.share == 1.0 and hit.level == "contained" and hit.first is None
    counted = count([TWELVE], ["x"], [hit], "contained")
    assert (counted.hits, counted.same_label, counted.no_single_text) == (1, 0, 1)


def test_the_first_match_and_its_passage_are_given() -> None:
    (hit,) = search([TWELVE], ["nothing", f"Before it, {TWELVE.upper()}; and after.", TWELVE + " again"])
    assert hit.first is not None
    assert hit.first.number == 1 and hit.first.passage == TWELVE


def test_labels_agree_differ_or_are_mixed() -> None:
    texts = ["same here", "other here", "both here", "nowhere"]
    sources = ["Same here", "other here", "both here", "both here", "both  HERE"]
    hits = search(texts, sources, ["a", "b", "a", "b", "c"])
    labels = ["a", "a", "a", "a"]
    exact, normalised, contained = (count(texts, labels, hits, level) for level in LEVELS)
    # level, texts, distinct, hits, distinct hits, same, other, both, no single text
    assert astuple(exact) == ("exact", 4, 4, 2, 2, 0, 1, 1, 0)
    assert astuple(normalised) == ("normalised", 4, 4, 3, 3, 1, 1, 1, 0)
    assert astuple(contained) == ("contained", 4, 4, 3, 3, 1, 1, 1, 0)
    assert hits[2].matches["exact"].labels == {"a", "b"} and hits[2].matches["normalised"].labels == {"a", "b", "c"}


def test_the_exact_match_agrees_where_the_normalised_one_conflicts() -> None:
    """As in ChemProt: the same sentence, marked differently, with another label."""
    texts, hits = ["<< A >> b"], search(["<< A >> b"], ["<< A >> b", "a << b >>"], ["x", "y"])
    assert count(texts, ["x"], hits, "exact").same_label == 1
    assert count(texts, ["x"], hits, "normalised").both_labels == 1


def test_without_labels_there_is_no_agreement_to_count() -> None:
    hits = search(["a"], ["a"])
    assert astuple(count(["a"], None, hits, "exact")) == ("exact", 1, 1, 1, 1, None, None, None, 0)


def test_duplicates_count_each_among_the_hits_and_once_among_the_distinct() -> None:
    texts = ["A b.", "a b", "A b.", "c d"]
    hits = search(texts, ["A b.", "A b.", "z"])
    exact, normalised, _ = (count(texts, None, hits, level) for level in LEVELS)
    assert (exact.texts, exact.distinct, exact.hits, exact.distinct_hits) == (4, 2, 2, 1)
    assert (normalised.hits, normalised.distinct_hits) == (3, 1)
    assert [hit.number for hit in hits] == [0, 1, 2] and [hit.level for hit in hits] == [
        "exact",
        "normalised",
        "exact",
    ]


def test_texts_of_nothing_but_signs_are_as_distinct_as_their_strings() -> None:
    texts = ["...", "!!!", "..."]
    counted = count(texts, None, search(texts, texts), "contained")
    assert (counted.distinct, counted.hits, counted.distinct_hits) == (2, 3, 2)


def test_clean_examples_are_those_that_no_source_holds() -> None:
    texts = ["in train", "In corpus!", TWELVE, "clean"]
    train, corpus = ["in train"], ["in corpus", f"a book: {TWELVE}."]
    assert clean_examples(texts, train) == [False, True, True, True]
    assert clean_examples(texts, train, iter(corpus)) == [False, False, False, True]
    assert clean_examples(texts, train, corpus, level="normalised") == [False, False, True, True]
    assert clean_examples(texts, train, corpus, level="exact") == [False, True, True, True]
    assert clean_examples(texts) == [True] * 4
    assert clean_examples(["in train"], train, ["IN TRAIN"], level="exact") == [
        False
    ]  # a text that one source holds is not clean, whatever the later sources


@pytest.mark.parametrize(
    ("how", "message"),
    [({"words": 0}, "words=0"), ({"threshold": 0.0}, "threshold=0.0"), ({"threshold": 1.1}, "threshold=1.1")],
)
def test_settings_out_of_range_are_refused(how: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OverlapSearch([], **how)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="level=near: possible are exact, normalised, contained"):
        clean_examples([], level="near")


words = st.lists(st.sampled_from(["a", "b", "B", "c!"]), max_size=9)
texts = st.lists(words.map(" ".join), max_size=6)
hows = st.fixed_dictionaries({"words": st.integers(1, 4), "threshold": st.sampled_from([0.3, 0.5, 0.7, 1.0])})


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    letters = re.findall("[a-z]", text.lower())
    return {tuple(letters[start : start + size]) for start in range(len(letters) - size + 1)}


@given(texts, texts, hows)
@settings(max_examples=300)
def test_agrees_with_the_definition_text_by_text(sought: list[str], sources: list[str], how: dict) -> None:
    hits = {hit.number: hit for hit in search(sought, sources, **how)}
    union = {gram for source in sources for gram in grams(source, how["words"])}
    for number, text in enumerate(sought):
        mine, letters = grams(text, how["words"]), re.findall("[a-z]", text.lower())
        same = [source for source in sources if letters and re.findall("[a-z]", source.lower()) == letters]
        holding = [
            place
            for place, source in enumerate(sources)
            if mine and len(mine & grams(source, how["words"])) / len(mine) >= how["threshold"]
        ]
        contained = bool(mine) and len(mine & union) / len(mine) >= how["threshold"]
        expected = "exact" if text in sources else "normalised" if same else "contained" if contained else None
        hit = hits.get(number)
        assert (hit and hit.level) == expected
        if hit is not None and holding:
            assert hit.matches["contained"].number == holding[0]
        elif hit is not None and expected == "contained":
            assert hit.first is None


@given(texts, texts, texts, hows)
def test_a_planted_text_is_found_and_not_clean(before: list[str], after: list[str], sought: list[str], how: dict):
    for number, text in enumerate(sought):
        assert [hit.level for hit in search(sought, [*before, text, *after], **how) if hit.number == number] == [
            "exact"
        ]
        assert not clean_examples(sought, [*before, text, *after], level="exact")[number]


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9), words, words, hows)
def test_a_long_enough_text_is_found_within_any_other(text: list[str], before: list[str], after: list[str], how: dict):
    level = level_of(" ".join(text), " ".join([*before, *text, *after]), **how)
    assert level in LEVELS if len(text) >= how["words"] or not before + after else level in (None, *LEVELS[:2])


@given(texts, texts, hows, st.randoms(use_true_random=False))
def test_the_order_of_texts_changes_no_count(sought: list[str], sources: list[str], how: dict, chance: random.Random):
    labels = [str(len(source) % 3) for source in sources]
    mine = ["0"] * len(sought)
    before = [count(sought, mine, search(sought, sources, labels, **how), level) for level in LEVELS]
    other = list(zip(sources, labels, strict=True))
    chance.shuffle(other)
    shuffled = chance.sample(sought, len(sought))
    again = search(shuffled, [text for text, _ in other], [label for _, label in other], **how)
    assert [count(shuffled, mine, again, level) for level in LEVELS] == before
    for counted in before:
        kinds = (counted.same_label, counted.other_label, counted.both_labels, counted.no_single_text)
        assert sum(kind or 0 for kind in kinds) == counted.hits
    assert before[0].hits <= before[1].hits <= before[2].hits


@given(texts, texts)
def test_the_same_text_is_the_same_from_both_sides(left: list[str], right: list[str]) -> None:
    for level in ("exact", "normalised"):
        there, back = (count(a, None, search(a, b), level).distinct_hits for a, b in ((left, right), (right, left)))
        assert there == back


@given(texts, st.lists(texts, max_size=4), hows)
def test_a_stream_in_chunks_gives_what_it_gives_at_once(sought: list[str], chunks: list[list[str]], how: dict) -> None:
    whole = search(sought, [text for chunk in chunks for text in chunk], **how)
    looking = OverlapSearch(sought, **how)
    for chunk in chunks:
        for text in chunk:
            looking.add(text)
        looking.hits()  # asking for the hits in between changes nothing
    assert looking.hits() == whole


def document(number: int) -> str:
    choose = random.Random(number)
    return " ".join(f"word{choose.randrange(5000)}" for _ in range(200))


def test_memory_does_not_grow_with_the_stream() -> None:
    sought = [document(number) for number in range(20)]
    looking = OverlapSearch(sought)

    def grown(numbers: range) -> int:
        tracemalloc.start()
        for number in numbers:
            looking.add(document(number))
        gc.collect()  # frees memory that the interpreter keeps for new tuples
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    grown(range(0, 40))  # with all that can be found
    assert grown(range(100, 900)) < 50_000  # 800 documents are more than a million characters
    assert len(looking.hits()) == 20


def test_a_phrase_in_every_text_does_not_make_it_quadratic() -> None:
    phrase = "which of the following answers to the question is the right one"

    def seconds(size: int) -> float:
        looking = OverlapSearch([f"{phrase} {document(number)}" for number in range(size)])
        sources = [f"{phrase} {document(number)}" for number in range(size, size + 200)]
        start = time.perf_counter()
        for source in sources:
            looking.add(source)
        return time.perf_counter() - start

    few = min(seconds(30) for _ in range(3))
    assert min(seconds(600) for _ in range(2)) < 5 * few
