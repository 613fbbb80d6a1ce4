"""What script a word is in, and its letters with the marks that belong to them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

KEY_NAME = "text_attacks.scripts"
VERSION = 1

JOINERS = "\u200c\u200d"  # between letters they choose how these are drawn; they belong to the letter before
OTHER_NAMES = {"CJK": "Han", "IDEOGRAPHIC": "Han", "HALFWIDTH": "Katakana", "KATAKANA-HIRAGANA": "Katakana"}


@cache
def script_of_letter(letter: str) -> str:
    """The script in a letter's Unicode name: Latin, Hangul, Han, Hiragana, ...; empty for what has no name."""
    first = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").partition(" ")[0]
    return OTHER_NAMES.get(first, first.capitalize())


def script(word: str) -> str:
    """The script of most of a word's letters; the first of several equally frequent ones. Empty without a letter."""
    counted = Counter(script_of_letter(letter) for letter in word if letter.isalpha())
    return max(counted, key=counted.__getitem__) if counted else ""


def scripts(words: Iterable[str]) -> list[str]:
    """The scripts of some words, the most frequent first."""
    counted = Counter(filter(None, map(script, words)))
    return [name for name, _ in counted.most_common()]


def clusters(word: str) -> list[str]:
    """The word's characters, each with the marks and joiners after it, which must not be torn from it.

    A part of the extended grapheme clusters of Unicode (UAX 29): syllables of Hangul that are spelt in letters
    (conjoining jamo) are not put together here, see hangul.py.
    """
    found: list[str] = []
    for character in word:
        if found and is_mark(character):
            found[-1] += character
        else:
            found.append(character)
    return found


def is_mark(character: str) -> bool:
    """Whether a character stands with the one before it."""
    return character in JOINERS or unicodedata.category(character).startswith("M")
