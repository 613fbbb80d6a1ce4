"""A text as words and the gaps between them, so that words can be replaced and nothing else changes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

KEY_NAME = "text_attacks.words"
VERSION = 1

APOSTROPHES = "'\u2019"  # between two letters they belong to the word: don't, l'eau
# Ideographs are written without spaces; each counts as a word, as in WordPiece tokenizers.
_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


@dataclass(frozen=True)
class Sentence:
    """Words [N] and gaps [N + 1]: the text is gap 0, word 0, gap 1, ..., word N - 1, gap N."""

    words: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole text, unchanged to the character."""
        return self.gaps[0] + "".join(word + gap for word, gap in zip(self.words, self.gaps[1:], strict=True))

    def with_word(self, position: int, word: str) -> Sentence:
        """The same sentence with another word at this position."""
        return replace(self, words=(*self.words[:position], word, *self.words[position + 1 :]))

    def without_word(self, position: int) -> str:
        """The text without this word; if two white spaces would then be adjacent, one of them is removed too."""
        before = "".join(gap + word for gap, word in zip(self.gaps, self.words[:position], strict=False))
        before += self.gaps[position]
        after = self.gaps[position + 1]
        doubled = after[:1].isspace() and (not before or before[-1].isspace())
        rest = "".join(
            word + gap for word, gap in zip(self.words[position + 1 :], self.gaps[position + 2 :], strict=True)
        )
        return before + after[doubled:] + rest

    def span(self, position: int) -> tuple[int, int]:
        """The characters [begin, end) of the word in the text."""
        start = sum(map(len, self.gaps[: position + 1])) + sum(map(len, self.words[:position]))
        return start, start + len(self.words[position])


def split(text: str, markers: Collection[str] = ()) -> Sentence:
    """Split a text of any language into words (letters, marks and digits) and gaps; ``split(text).text == text``.

    markers: strings that are not words although they hold letters, such as the tokenizer's "[SEP]".
    """
    words, gaps, end = [], [], 0
    for start, stop in _spans(text, markers):
        gaps.append(text[end:start])
        words.append(text[start:stop])
        end = stop
    return Sentence(tuple(words), (*gaps, text[end:]))


def is_word(text: str) -> bool:
    """Whether the text is exactly one word, with at least one letter."""
    return split(text).words == (text,) and has_letter(text)


def has_letter(word: str) -> bool:
    """Whether a word has a letter, and so may be changed: another number would be another statement."""
    return any(character.isalpha() for character in word)


def _spans(text: str, markers: Collection[str]) -> Iterator[tuple[int, int]]:
    """The characters [begin, end) of each word."""
    marker = re.compile("|".join(map(re.escape, sorted(markers, key=len, reverse=True)))) if markers else None
    position = 0
    while position < len(text):
        marked = marker.match(text, position) if marker else None
        if marked and marked.end() > position:
            position = marked.end()
        elif _is_ideograph(text[position]):
            yield position, position + 1
            position += 1
        elif _in_word(text[position]):
            start = position
            position = _end_of_word(text, start)
            yield start, position
        else:
            position += 1


def _end_of_word(text: str, start: int) -> int:
    position = start + 1
    while position < len(text) and (_in_word(text[position]) or _joins(text, position)):
        position += 1
    return position


def _joins(text: str, position: int) -> bool:
    """Whether this character is an apostrophe that is followed by a character of the same word."""
    return text[position] in APOSTROPHES and position + 1 < len(text) and _in_word(text[position + 1])


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" and not _is_ideograph(character)


def _is_ideograph(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _IDEOGRAPHS)
