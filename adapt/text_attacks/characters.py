"""Misspellings of a word, and the word in other cases; they do not depend on which words were attacked before.

Pruthi et al. (2019, section 3) edit the inside of words of four letters or more, because people read past a swapped,
dropped, added or mistyped letter there. Replacing a letter by any other is from DeepWordBug (Gao et al., 2018,
section 4). Both edit Latin letters. Other scripts are edited as they are typed:

- Hangul by the keys of its own keyboard, from which the syllables are then composed anew (hangul.py).
- Cyrillic, Greek, Hebrew, Arabic and Devanagari by their standard keyboards (keyboards.py).
- Kana by what is easily confused: voicing marks (か, が) and small letters (つ, っ).
- Any other script by swapping, dropping and repeating its letters, each with its marks.
- Han characters are not: they are typed by their sound and chosen from a list, so a misspelling is another character of
  the same sound, which takes a dictionary.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import numpy as np

from adapt.text_attacks import hangul
from adapt.text_attacks.keyboards import NEIGHBOURS
from adapt.text_attacks.scripts import clusters, script

KEY_NAME = "text_attacks.characters"
VERSION = 2

SHORTEST = 4  # keys that type a word; shorter words are not misspelt (Pruthi et al., 2019, section 3)
SHORTEST_KANA = 3  # each is a syllable
LETTERS = "abcdefghijklmnopqrstuvwxyz"
KEYBOARD = NEIGHBOURS["Latin"]
KANA = ("Hiragana", "Katakana")
WITHOUT_TYPOS = {"Han": "Han characters are typed by their sound, so a misspelling takes a dictionary"}
_VOICED, _HALF_VOICED = "\u3099", "\u309a"
_SMALL = dict(zip("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ", "あいうえおつやゆよわアイウエオツヤユヨワ", strict=True))
_LARGE = {large: small for small, large in _SMALL.items()}


def kind_of(word: str) -> str:
    """The script by which a word is edited; Latin for one without a letter."""
    return script(word) or "Latin"


def keys_of(word: str) -> list[str]:
    """What a word is edited by: the keys that type it in Hangul, else its letters, each with its marks."""
    return hangul.keys_of(word) if kind_of(word) == "Hangul" else clusters(word)


def written(keys: list[str], word: str) -> str:
    """The word that these keys give, composed or decomposed as ``word`` is."""
    if kind_of(word) != "Hangul":
        return "".join(keys)
    return unicodedata.normalize("NFC" if unicodedata.is_normalized("NFC", word) else "NFD", hangul.typed(keys))


def can_be_misspelt(word: str) -> bool:
    """Whether a word is long enough, and of a script with misspellings."""
    kind = kind_of(word)
    if kind in KANA:
        return len(clusters(word)) >= SHORTEST_KANA
    size = len(hangul.keys_of(word) if kind == "Hangul" else unicodedata.normalize("NFC", word))
    return kind not in WITHOUT_TYPOS and size >= SHORTEST


def swaps(word: str) -> list[str]:
    """Swap two neighbouring letters inside the word."""
    keys = keys_of(word)
    return [
        written([*keys[:i], keys[i + 1], keys[i], *keys[i + 2 :]], word)
        for i in range(1, len(keys) - 2)
        if keys[i] != keys[i + 1] and keys[i][0].isalpha() and keys[i + 1][0].isalpha()
    ]


def drops(word: str) -> list[str]:
    """Drop a letter inside the word."""
    keys = keys_of(word)
    return [written([*keys[:i], *keys[i + 1 :]], word) for i in range(1, len(keys) - 1) if keys[i][0].isalpha()]


def repeats(word: str) -> list[str]:
    """Type a letter inside the word twice."""
    keys = keys_of(word)
    return [written([*keys[: i + 1], *keys[i:]], word) for i in range(1, len(keys) - 1) if keys[i][0].isalpha()]


def inserts(word: str) -> list[str]:
    """Add a letter inside the word; no edits if the word has letters other than a to z."""
    places = range(1, len(word)) if _latin(word) else range(0)
    return [word[:i] + _cased(letter, word[i - 1]) + word[i:] for i in places for letter in LETTERS]


def keyboard(word: str) -> list[str]:
    """Replace a letter or mark inside the word by a neighbour on the keyboard of its script."""
    kind = kind_of(word)
    near = NEIGHBOURS.get(kind, {})
    keys = keys_of(word) if kind == "Hangul" else list(word)
    return [
        written([*keys[:i], _cased(key, keys[i]), *keys[i + 1 :]], word)
        for i in range(1, len(keys) - 1)
        for key in near.get(hangul.SHIFTED.get(keys[i], keys[i].lower()), "")
    ]


def slips_of_shift(word: str) -> list[str]:
    """Type a Hangul letter inside the word with the shift key, or without it: ㄱ and ㄲ, ㅐ and ㅒ."""
    keys, plain = keys_of(word), {key: shifted for shifted, key in hangul.SHIFTED.items()}
    others = [hangul.SHIFTED.get(key) or plain.get(key) for key in keys]
    return [
        written([*keys[:i], other, *keys[i + 1 :]], word)
        for i, other in enumerate(others)
        if other is not None and 0 < i < len(keys) - 1
    ]


def confusions(word: str) -> list[str]:
    """Replace a kana inside the word by the same without its voicing mark, or with one, or in the other size."""
    keys = clusters(word)
    return [
        "".join([*keys[:i], other, *keys[i + 1 :]]) for i in range(1, len(keys) - 1) for other in _kana_like(keys[i])
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
OTHER_EDITS: dict[str, tuple[Callable[[str], list[str]], ...]] = {
    "Hangul": (swaps, drops, repeats, keyboard, slips_of_shift),
    **dict.fromkeys(KANA, (swaps, drops, repeats, confusions)),
}


def typos(word: str, count: int, seed: tuple[int, ...]) -> list[str]:
    """At most ``count`` distinct misspellings: one of each kind of edit in turn, each kind in random order.

    seed: (seed, example, position), so that neither the order of words nor that of examples matters.
    """
    if not can_be_misspelt(word):
        return []
    random = np.random.default_rng(seed)
    kind, piles = kind_of(word), []
    for edit in EDITS if kind == "Latin" else OTHER_EDITS.get(kind, (swaps, drops, repeats, keyboard)):
        edits = [changed for changed in dict.fromkeys(edit(word)) if changed != word]
        piles.append([edits[index] for index in random.permutation(len(edits))])
    longest = max(map(len, piles))
    in_turn = [pile[turn] for turn in range(longest) for pile in piles if turn < len(pile)]
    return list(dict.fromkeys(in_turn))[:count]


def cases(word: str) -> list[str]:
    """The word in lower case, in upper case, capitalised, and with the case of every letter swapped."""
    variants = (word.lower(), word.upper(), word[:1].upper() + word[1:].lower(), word.swapcase())
    return [changed for changed in dict.fromkeys(variants) if changed != word]


def _kana_like(kana: str) -> list[str]:
    """The kana that differ from this one in a voicing mark or in size."""
    base = unicodedata.normalize("NFD", kana)[0]
    voiced = [unicodedata.normalize("NFC", base + mark) for mark in ("", _VOICED, _HALF_VOICED)]
    sizes = [other for table in (_SMALL, _LARGE) if (other := table.get(kana)) is not None]
    now = unicodedata.normalize("NFC", kana)
    return [other for other in dict.fromkeys([*voiced, *sizes]) if len(other) == 1 and other != now]


def _latin(word: str) -> bool:
    return all(letter in LETTERS for letter in word.lower() if letter.isalpha())


def _cased(letter: str, like: str) -> str:
    return letter.upper() if like.isupper() else letter
