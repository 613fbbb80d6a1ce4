from __future__ import annotations

import hashlib
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from adapt.data.text import distinct, hash_share, in_hash_order, normalise, sentences


def test_normalise_keeps_letters_and_digits_of_any_script() -> None:
    assert normalise("  The << Ang-II >>,\n42% of Größe_x! ") == "the ang ii 42 of grösse x"


@given(st.text())
def test_normalise_is_idempotent_and_blind_to_case_and_space(text: str) -> None:
    form = normalise(text)
    assert normalise(form) == form
    assert normalise(f"\t {text} ...") == form
    assert all(
        character.isalnum() or character == " " or unicodedata.category(character)[0] == "M" for character in form
    )


def test_sentences_end_before_a_capital_or_a_digit() -> None:
    text = "One, e.g. this. Two: 3 is more! four? Five."
    assert sentences(text) == ["One, e.g. this.", "Two:", "3 is more! four?", "Five."]


@given(st.lists(st.sampled_from(["A b.", "Is it? No", "1: 2; c"])).map(" ".join))
def test_sentences_lose_no_word(text: str) -> None:
    assert " ".join(sentences(text)).split() == text.split()


def test_hash_share_is_the_leading_bits_of_sha256() -> None:
    assert hash_share("a") == (int(hashlib.sha256(b"a").hexdigest()[:16], 16) >> 11) / 2**53
    assert hash_share("a", salt="b") == hash_share("ba")


def test_hash_shares_are_uniform_and_salts_independent() -> None:
    names = [f"package.module.name{number}" for number in range(10_000)]
    below = [name for name in names if hash_share(name) < 0.3]
    assert 2800 < len(below) < 3200  # 4.4 standard deviations of a binomial(10000, .3)
    assert 760 < sum(hash_share(name, salt="x") < 0.3 for name in below) < 1040


@given(st.lists(st.text()), st.randoms())
def test_hash_order_does_not_depend_on_the_order_given(texts: list[str], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(texts, len(texts))
    assert in_hash_order(shuffled, str) == in_hash_order(texts, str)
    assert sorted(in_hash_order(texts, str)) == sorted(texts)


def test_distinct_keeps_the_first_of_equal_normalised_texts() -> None:
    assert list(distinct(["A b", "c", "a, B!", "C", "d"], str)) == ["A b", "c", "d"]
