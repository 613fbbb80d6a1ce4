"""Splitting a text into words and gaps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.text_attacks.words import has_letter, is_word, split


@given(st.text())
def test_any_text_splits_and_joins_to_itself(text: str) -> None:
    sentence = split(text, ["[SEP]", "<s>"])
    assert sentence.text == text
    assert len(sentence.gaps) == len(sentence.words) + 1
    assert all(sentence.words)
    for position, word in enumerate(sentence.words):
        start, end = sentence.span(position)
        assert text[start:end] == word


@given(st.text(alphabet="ab 1.'\t\n-", max_size=30), st.data())
def test_a_new_word_changes_nothing_else(text: str, data: st.DataObject) -> None:
    sentence = split(text)
    if sentence.words:
        position = data.draw(st.integers(0, len(sentence.words) - 1))
        start, end = sentence.span(position)
        assert sentence.with_word(position, "NEW").text == text[:start] + "NEW" + text[end:]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A cat's tail -- it isn't 2 long!", ["A", "cat's", "tail", "it", "isn't", "2", "long"]),
        ("'quoted' state-of-the-art", ["quoted", "state", "of", "the", "art"]),
        ("l\u2019eau  d'Évian\u00a0?", ["l\u2019eau", "d'Évian"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),  # vowel signs are marks, not letters
        ("我爱cats", ["我", "爱", "cats"]),
        ("кошка, собака", ["кошка", "собака"]),
        ("one [SEP] two[SEP]three", ["one", "two", "three"]),
        ("snake_case x_1", ["snake", "case", "x", "1"]),
        ("", []),
        (" ... ", []),
    ],
)
def test_words_of_several_languages(text: str, words: list[str]) -> None:
    assert list(split(text, ["[SEP]"]).words) == words


@pytest.mark.parametrize(
    ("text", "position", "rest"),
    [
        ("one two three", 1, "one three"),
        ("one two three", 0, "two three"),
        ("one two three", 2, "one two "),
        ("one (two) three", 1, "one () three"),
        ("one\n two\tthree", 1, "one\n three"),
        ("我爱你", 1, "我你"),
    ],
)
def test_a_word_leaves_without_a_second_space(text: str, position: int, rest: str) -> None:
    assert split(text).without_word(position) == rest


def test_what_may_be_changed_has_a_letter() -> None:
    assert [word for word in ("cat", "2", "x2", "я", "12.5") if has_letter(word)] == ["cat", "x2", "я"]
    assert [text for text in ("cat", "2", "two words", "##ing", "don't", " cat", "") if is_word(text)] == [
        "cat",
        "don't",
    ]
