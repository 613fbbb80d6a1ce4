"""Which tokens begin a word, from their offsets in the text, so that words are the same for every kind of tokenizer."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

KEY_NAME = "data.tokens.words"
VERSION = 1
WORD_START = 2**30  # added to the stored id of a token that begins a word: far above any vocabulary, within an int32
IDEOGRAPHS = (("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"))


def word_starts(text: str, offsets: Sequence[tuple[int, int]]) -> list[bool]:
    """For each token of a text, whether it begins a word; ``offsets``: the characters [begin, end) that it covers.

    A word is a run of letters, digits, marks and underscores; any other visible character, and an ideograph, is a word
    by itself. WordPiece, BPE and Unigram tokenizers all return offsets, but each marks words in its own way or, like
    some Llama tokenizers, not at all. White space before a word belongs to its first token. Of several tokens that
    cover bytes of the same character only the first can begin a word. A token that covers nothing begins one.
    """
    starts, before = [], -1
    for begin, end in offsets:
        first = begin
        while first < end and text[first].isspace():
            first += 1
        if begin == end:
            starts.append(True)
            continue
        starts.append(first != before and (first == end or begins_word(text, first)))
        before = first if first < end else before
    return starts


def begins_word(text: str, index: int) -> bool:
    """Whether the visible character at ``index`` begins a new word, given the character before it."""
    return index == 0 or not (continues(text[index]) and continues(text[index - 1]))


def continues(character: str) -> bool:
    """Whether a character joins neighbours of the same kind into one word."""
    if any(first <= character <= last for first, last in IDEOGRAPHS):
        return False
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
