from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from adapt.data.leakage import BannedTexts
from adapt.data.text import normalise

words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=14)
texts = words.map(" ".join)


def test_a_long_text_is_found_inside_another_whatever_its_punctuation() -> None:
    banned = BannedTexts(["The << drug >> blocks 43% of the receptor."], shingle=4)
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
    assert not BannedTexts(["...", ""]).found_in("")


@given(st.lists(texts, max_size=5), texts, st.integers(1, 4))
def test_agrees_with_a_search_for_each_text_in_turn(banned: list[str], document: str, shingle: int) -> None:
    expected = any(
        form and (form == document or (form.count(" ") + 1 >= shingle and f" {form} " in f" {document} "))
        for form in map(normalise, banned)
    )
    assert BannedTexts(banned, shingle).found_in(document) == expected


def test_ten_times_the_banned_texts_do_not_take_ten_times_as_long() -> None:
    document = " ".join(f"word{number % 997}" for number in range(100_000))

    def seconds(count: int) -> float:
        banned = BannedTexts(f"{number} other words that stand nowhere in the document" for number in range(count))
        start = time.perf_counter()
        assert not banned.found_in(document)
        return time.perf_counter() - start

    few = min(seconds(1_000) for _ in range(3))
    assert min(seconds(10_000) for _ in range(3)) < 4 * few
