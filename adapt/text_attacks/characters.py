"""Misspellings of a word, and the word in other cases; they do not depend on which words were attacked before.

Pruthi et al. (2019, section 3) edit the inside of words of four letters or more, because people read past a swapped,
dropped, added or mistyped letter there. Replacing a letter by any other is from DeepWordBug (Gao et al., 2018,
section 4).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

KEY_NAME = "text_attacks.characters"
VERSION = 1

SHORTEST = 4  # letters; shorter words are not misspelt (Pruthi et al., 2019, section 3)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    """Each letter's neighbours on a QWERTY keyboard; each row is half a key to the right of the row above."""
    neighbours: dict[str, str] = {}
    for row, keys in enumerate(_ROWS):
        for column, key in enumerate(keys):
            near = [(row, column - 1), (row, column + 1), (row - 1, column), (row - 1, column + 1)]
            near += [(row + 1, column - 1), (row + 1, column)]
            neighbours[key] = "".join(_ROWS[r][c] for r, c in near if 0 <= r < len(_ROWS) and 0 <= c < len(_ROWS[r]))
    return neighbours


KEYBOARD = _neighbours()


def swaps(word: str) -> list[str]:
    """Swap two neighbouring letters inside the word."""
    return [
        word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        for i in range(1, len(word) - 2)
        if word[i] != word[i + 1] and word[i].isalpha() and word[i + 1].isalpha()
    ]


def drops(word: str) -> list[str]:
    """Drop a letter inside the word."""
    return [word[:i] + word[i + 1 :] for i in range(1, len(word) - 1) if word[i].isalpha()]


def inserts(word: str) -> list[str]:
    """Add a letter inside the word; no edits if the word has letters other than a to z."""
    places = range(1, len(word)) if _latin(word) else range(0)
    return [word[:i] + _cased(letter, word[i - 1]) + word[i:] for i in places for letter in LETTERS]


def keyboard(word: str) -> list[str]:
    """Replace a letter inside the word by a neighbour on the keyboard."""
    return [
        word[:i] + _cased(key, word[i]) + word[i + 1 :]
        for i in range(1, len(word) - 1)
        for key in KEYBOARD.get(word[i].lower(), "")
    ]


def substitutes(word: str) -> list[str]:
    """Replace a letter inside the word by another of a to z; no edits if the word has letters other than a to z."""
    places = range(1, len(word) - 1) if _latin(word) else range(0)
    return [
        word[:i] + _cased(letter, word[i]) + word[i + 1 :]
        for i in places
        if word[i].isalpha()
        for letter in LETTERS
        if letter != word[i].lower()
    ]


EDITS: tuple[Callable[[str], list[str]], ...] = (swaps, drops, inserts, keyboard, substitutes)


def typos(word: str, count: int, seed: tuple[int, ...]) -> list[str]:
    """At most ``count`` distinct misspellings: one of each kind of edit in turn, each kind in random order.

    seed: (seed, example, position), so that neither the order of words nor that of examples matters.
    """
    if len(word) < SHORTEST:
        return []
    random = np.random.default_rng(seed)
    piles = []
    for edit in EDITS:
        edits = [changed for changed in dict.fromkeys(edit(word)) if changed != word]
        piles.append([edits[index] for index in random.permutation(len(edits))])
    longest = max(map(len, piles))
    in_turn = [pile[turn] for turn in range(longest) for pile in piles if turn < len(pile)]
    return list(dict.fromkeys(in_turn))[:count]


def cases(word: str) -> list[str]:
    """The word in lower case, in upper case, capitalised, and with the case of every letter swapped."""
    variants = (word.lower(), word.upper(), word[:1].upper() + word[1:].lower(), word.swapcase())
    return [changed for changed in dict.fromkeys(variants) if changed != word]


def _latin(word: str) -> bool:
    return all(letter in LETTERS for letter in word.lower() if letter.isalpha())


def _cased(letter: str, like: str) -> str:
    return letter.upper() if like.isupper() else letter
