"""Whether a text has anything to read: at least one character that can be seen."""

from __future__ import annotations

import unicodedata

KEY_NAME = "data.visible"
VERSION = 1

_UNSEEN = ("Z", "C")  # categories: white space and separators; control, format and unassigned characters
_PRIVATE = "Co"  # drawn by some fonts
# Letters, marks and a symbol that Unicode calls ignorable or that are drawn as blanks: fillers of Hangul syllables, the
# combining grapheme joiner, selectors of variants, inherent vowels of Khmer, the empty pattern of Braille.
_BLANK = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)]
    + [*range(0xE0100, 0xE01F0)]
)


def is_visible(character: str) -> bool:
    """Whether a character can be seen: no white space, no control or format character, no filler."""
    category = unicodedata.category(character)
    return (category[0] not in _UNSEEN or category == _PRIVATE) and ord(character) not in _BLANK


def is_blank(text: str) -> bool:
    """Whether a text has no character that can be seen; the empty text is blank."""
    return not any(map(is_visible, text))


def visible(text: str) -> int:
    """How many characters of a text can be seen."""
    return sum(map(is_visible, text))
