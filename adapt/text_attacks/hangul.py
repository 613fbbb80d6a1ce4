"""Hangul as it is typed: a word as the keys of the two-set keyboard (dubeolsik), and the syllables that keys give.

The layout is that of the standard KS X 5002. A key is a letter of the compatibility block (U+3131 to U+3163), which is
what an input method shows while a syllable is unfinished. Syllables are composed and decomposed by the arithmetic of
the Unicode standard (section 3.12): syllable = 0xAC00 + (initial * 21 + vowel) * 28 + final.
"""

from __future__ import annotations

import unicodedata

KEY_NAME = "text_attacks.hangul"
VERSION = 1

ROWS = ("ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ", "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ", "ㅋㅌㅊㅍㅠㅜㅡ")
SHIFTED = dict(zip("ㅃㅉㄸㄲㅆㅒㅖ", "ㅂㅈㄷㄱㅅㅐㅔ", strict=True))  # letters with the shift key -> the key
INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
# Letters that are typed with two keys.
TWO_KEYS = {
    **{"ㅘ": "ㅗㅏ", "ㅙ": "ㅗㅐ", "ㅚ": "ㅗㅣ", "ㅝ": "ㅜㅓ", "ㅞ": "ㅜㅔ", "ㅟ": "ㅜㅣ", "ㅢ": "ㅡㅣ"},
    **{"ㄳ": "ㄱㅅ", "ㄵ": "ㄴㅈ", "ㄶ": "ㄴㅎ", "ㄺ": "ㄹㄱ", "ㄻ": "ㄹㅁ", "ㄼ": "ㄹㅂ", "ㄽ": "ㄹㅅ", "ㄾ": "ㄹㅌ"},
    **{"ㄿ": "ㄹㅍ", "ㅀ": "ㄹㅎ", "ㅄ": "ㅂㅅ"},
}
ONE_LETTER = {keys: letter for letter, keys in TWO_KEYS.items()}
_FIRST, _COUNT = 0xAC00, 19 * 21 * 28


def keys_of(word: str) -> list[str]:
    """The keys that type a word, one letter each; characters that are no Hangul are one key each.

    The word may be spelt in syllables or in conjoining letters (as macOS stores file names); both give the same keys.
    """
    keys: list[str] = []
    for character in unicodedata.normalize("NFC", word):
        place = ord(character) - _FIRST
        if 0 <= place < _COUNT:
            letters = [INITIALS[place // 588], VOWELS[place % 588 // 28], FINALS[place % 28]]
        else:
            letters = [character]
        for letter in letters:
            keys += TWO_KEYS.get(letter, letter)
    return keys


def typed(keys: list[str]) -> str:
    """What the two-set input method writes for these keys; letters that form no syllable stay single letters.

    A consonant after a vowel ends the syllable, until a vowel follows it: then it begins the next one.
    """
    written, initial, vowel, final = "", "", "", ""
    for key in [*keys, ""]:
        if key and key in VOWELS:
            if final:  # the last key of the final moves on to the new syllable
                stays, moves = tuple(TWO_KEYS[final]) if final in TWO_KEYS else ("", final)
                written += syllable(initial, vowel, stays)
                initial, vowel, final = moves, key, ""
            elif vowel and vowel + key in ONE_LETTER:
                vowel = ONE_LETTER[vowel + key]
            elif vowel or not initial:
                written += syllable(initial, vowel, "")
                initial, vowel = "", key
            else:
                vowel = key
        elif key and key in INITIALS and initial and vowel and (final + key in FINALS or final + key in ONE_LETTER):
            final = ONE_LETTER.get(final + key, key)
        else:
            written += syllable(initial, vowel, final)
            is_consonant = bool(key) and key in INITIALS
            initial, vowel, final = key if is_consonant else "", "", ""
            written += "" if is_consonant else key
    return written


def syllable(initial: str, vowel: str, final: str) -> str:
    """The syllable of these letters; the letters themselves if one of the first two is missing."""
    if not initial or not vowel:
        return initial + vowel + final
    return chr(_FIRST + (INITIALS.index(initial) * 21 + VOWELS.index(vowel)) * 28 + FINALS.index(final))
