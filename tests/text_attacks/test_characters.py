"""Character edits change exactly what they say."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.text_attacks import characters

WORDS = st.text(alphabet="abcdefgXYZé'1ж", min_size=1, max_size=12)
LATIN = st.text(alphabet="abcdefgXYZ", min_size=1, max_size=12)


def differences(one: str, other: str) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


@given(WORDS)
def test_a_swap_moves_two_neighbours_inside(word: str) -> None:
    for changed in characters.swaps(word):
        assert Counter(changed) == Counter(word)
        first, second = differences(word, changed)
        assert second == first + 1
        assert first > 0 and second < len(word) - 1


@given(WORDS)
def test_a_drop_loses_one_letter_inside(word: str) -> None:
    for changed in characters.drops(word):
        assert len(changed) == len(word) - 1
        assert (changed[0], changed[-1]) == (word[0], word[-1])
        assert sum((Counter(word) - Counter(changed)).values()) == 1


@given(LATIN)
def test_an_insertion_adds_one_letter_inside(word: str) -> None:
    inserted = characters.inserts(word)
    assert len(inserted) == 26 * (len(word) - 1)
    for changed in inserted:
        assert len(changed) == len(word) + 1
        assert (changed[0], changed[-1]) == (word[0], word[-1])
        assert not Counter(word) - Counter(changed)


@given(LATIN)
def test_a_keyboard_slip_hits_a_neighbouring_key_in_the_same_case(word: str) -> None:
    for changed in characters.keyboard(word):
        (place,) = differences(word, changed)
        assert 0 < place < len(word) - 1
        assert changed[place].lower() in characters.KEYBOARD[word[place].lower()]
        assert changed[place].isupper() == word[place].isupper()


def test_the_keyboard_is_a_qwerty() -> None:
    assert {key: set(near) for key, near in characters.KEYBOARD.items() if key in "qgmp"} == {
        "q": set("wa"),
        "g": set("fhtyvb"),
        "m": set("njk"),
        "p": set("ol"),
    }
    for key, near in characters.KEYBOARD.items():
        assert all(key in characters.KEYBOARD[other] for other in near), key


@given(LATIN)
def test_a_substitution_is_another_letter(word: str) -> None:
    substituted = characters.substitutes(word)
    assert len(substituted) == 25 * max(0, len(word) - 2)
    assert all(len(differences(word, changed)) == 1 for changed in substituted)


@pytest.mark.parametrize("word", ["кошка", "γάτες", "חתולים", "ประเทศ"])
def test_a_word_in_other_letters_is_swapped_dropped_repeated_and_mistyped(word: str) -> None:
    edits = (characters.swaps, characters.drops, characters.repeats, characters.keyboard)
    assert set(characters.typos(word, 99, (0, 0, 0))) == {new for edit in edits for new in edit(word)} - {word}


@given(WORDS, st.integers(1, 60), st.integers(0, 5))
def test_typos_are_distinct_within_the_count_and_never_the_word(word: str, count: int, seed: int) -> None:
    misspelt = characters.typos(word, count, (seed, 1, 2))
    assert len(misspelt) == len(set(misspelt)) <= count
    assert word not in misspelt
    assert misspelt == characters.typos(word, count, (seed, 1, 2))
    assert misspelt or len(word) < characters.SHORTEST or not any(edit(word) for edit in characters.EDITS)
    if len(word) < characters.SHORTEST:
        assert misspelt == []


def test_a_few_typos_hold_every_kind_and_depend_on_the_seed() -> None:
    five = characters.typos("python", 5, (0, 0, 0))
    for edit in characters.EDITS:
        assert set(edit("python")) & set(five), edit.__name__
    assert len({tuple(characters.typos("python", 5, (0, 0, place))) for place in range(8)}) > 4


@pytest.mark.parametrize(
    ("word", "others"),
    [("Cat", ["cat", "CAT", "cAT"]), ("cat", ["CAT", "Cat"]), ("CAT", ["cat", "Cat"]), ("我", []), ("x2", ["X2"])],
)
def test_cases(word: str, others: list[str]) -> None:
    assert characters.cases(word) == others
