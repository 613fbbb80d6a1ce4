from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.config import ConfigError
from adapt.data.leakage import BannedTexts
from adapt.data.leaks.overlap import OverlapSearch
from adapt.data.text import normalise

words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=14)
texts = words.map(" ".join)
marked = st.lists(st.sampled_from(["a", "B", "b!", "...", "c"]), max_size=14).map(" ".join)


def test_a_long_text_is_found_inside_another_whatever_its_punctuation() -> None:
    banned = BannedTexts(["The << drug >> blocks 43% of the receptor."], shingle=4, threshold=None)
    assert banned.found_in("We saw that the drug blocks 43 % of THE receptor in mice.")
    assert not banned.found_in("We saw that the drug blocks 43 % of the receptors in mice.")
    assert not banned.found_in("the drug blocks 43 % of the")


def test_a_short_text_is_found_only_as_a_whole() -> None:
    banned = BannedTexts(["Yes, indeed."], shingle=4)
    assert banned.found_in("yes indeed")
    assert not banned.found_in("yes indeed it is")


def test_two_texts_with_the_same_beginning_are_both_found() -> None:
    banned = BannedTexts(["a b c d", "a b c e"], shingle=3)
    assert banned.found_in("x a b c e") and banned.found_in("x a b c d") and not banned.found_in("x a b c f")
    assert len(banned) == 2


def test_nothing_is_found_of_no_texts() -> None:
    assert not BannedTexts([]).found_in("anything at all")
    assert not BannedTexts(["..."]).found_in("") and not BannedTexts([""]).found_in("...")


def test_nothing_but_signs_is_the_same_only_as_the_same_string() -> None:
    assert BannedTexts(["..."]).found_in("...") and not BannedTexts(["..."]).found_in("!!!")


def test_most_of_a_text_is_found_and_less_is_not() -> None:
    """Twelve words have 5 8-grams; eleven of the words hold 4 of them (.8), ten hold 3 (.6)."""
    twelve = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    banned = BannedTexts([" ".join(twelve)])
    assert banned.found_in(f"Before: {' '.join(twelve[:11])}; after")
    assert not banned.found_in(f"Before: {' '.join(twelve[:10])}; after")
    assert not BannedTexts([" ".join(twelve)], threshold=None).found_in(" ".join(twelve[:11]))


def test_all_n_grams_in_pieces_are_not_the_text_in_one_piece() -> None:
    banned = ["a b a b a b a b"]  # its bigrams: "a b" and "b a"
    assert BannedTexts(banned, shingle=2, threshold=1.0).found_in("a b x b a")
    assert not BannedTexts(banned, shingle=2, threshold=None).found_in("a b x b a")


@given(st.lists(texts, max_size=5), texts, st.integers(1, 4))
def test_agrees_with_a_search_for_each_text_in_turn(banned: list[str], document: str, shingle: int) -> None:
    expected = any(
        form and (form == document or (form.count(" ") + 1 >= shingle and f" {form} " in f" {document} "))
        for form in map(normalise, banned)
    )
    expected |= document in banned
    assert BannedTexts(banned, shingle, threshold=None).found_in(document) == expected


@given(
    st.lists(marked, max_size=5),
    st.lists(marked, max_size=5),
    st.integers(1, 4),
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
)
@settings(max_examples=300)
def test_filter_and_report_agree(banned: list[str], documents: list[str], shingle: int, threshold: float) -> None:
    """A text that the filter passes holds no banned text at any level of the report; a text that it stops does."""
    forbidden = BannedTexts(banned, shingle, threshold)
    for document in documents:
        search = OverlapSearch(banned, shingle, threshold)
        search.add(document)
        assert forbidden.found_in(document) == bool(search.hits())
    search = OverlapSearch(banned, shingle, threshold)
    for document in documents:
        if not forbidden.found_in(document):
            search.add(document)
    assert all(hit.first is None for hit in search.hits())  # only several of them together may hold one


@pytest.mark.parametrize(("shingle", "threshold"), [(0, 0.7), (8, 0.0), (8, 1.5)])
def test_settings_out_of_range_are_refused(shingle: int, threshold: float) -> None:
    with pytest.raises(ConfigError, match="words=0|threshold="):
        BannedTexts(["a"], shingle, threshold)


def test_ten_times_the_banned_texts_do_not_take_ten_times_as_long() -> None:
    document = " ".join(f"word{number % 997}" for number in range(100_000))

    def seconds(count: int) -> float:
        banned = BannedTexts(f"{number} other words that stand nowhere in the document" for number in range(count))
        start = time.perf_counter()
        assert not banned.found_in(document)
        return time.perf_counter() - start

    few = min(seconds(1_000) for _ in range(3))
    assert min(seconds(10_000) for _ in range(3)) < 4 * few
