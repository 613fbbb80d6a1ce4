"""Which keys lie next to each other, for the scripts whose standard keyboard is one letter a key.

Each layout is given as its three rows of letters, each half a key to the right of the row above. Sources:

- Latin: QWERTY (ISO/IEC 9995).
- Hangul: two-set (dubeolsik), KS X 5002.
- Cyrillic: Russian, the layout of Windows and of Linux's xkeyboard-config (``ru``).
- Greek: ELOT 1000, ``gr`` in xkeyboard-config.
- Hebrew: SI 1452, ``il`` in xkeyboard-config.
- Arabic: Arabic 101 of Windows, ``ara`` in xkeyboard-config.
- Devanagari: InScript, of the Indian standard IS 16350.
"""

from __future__ import annotations

import unicodedata

from adapt.text_attacks import hangul

KEY_NAME = "text_attacks.keyboards"
VERSION = 1

# A space stands for a key without a letter.
LAYOUTS = {
    "Latin": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "Hangul": hangul.ROWS,
    "Cyrillic": ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
    "Greek": (" ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ"),
    "Hebrew": ("  קראטוןםפ", "שדגכעיחלךף", "זסבהנמצתץ"),
    "Arabic": ("ضصثقفغعهخحجد", "شسيبلاتنمكط", "ئءؤر ىةوزظ"),
    "Devanagari": (
        "\u094c\u0948\u093e\u0940\u0942बहगदजड\u093c",
        "\u094b\u0947\u094d\u093f\u0941परकतचट",
        " \u0902मनवलस  य",
    ),
}


def neighbours(rows: tuple[str, ...]) -> dict[str, str]:
    """Each letter's neighbours on a keyboard with these rows."""
    near: dict[str, str] = {}
    for row, keys in enumerate(rows):
        for column, key in enumerate(keys):
            places = [(row, column - 1), (row, column + 1), (row - 1, column), (row - 1, column + 1)]
            places += [(row + 1, column - 1), (row + 1, column)]
            found = "".join(rows[r][c] for r, c in places if 0 <= r < len(rows) and 0 <= c < len(rows[r]))
            near[key] = "".join(letter for letter in found if letter != " " and alike(letter, key))
    return {key: found for key, found in near.items() if key != " "}


def alike(one: str, other: str) -> bool:
    """Whether one key may be typed for another without leaving a mark that has nothing to stand on."""
    return unicodedata.category(one)[0] == unicodedata.category(other)[0]


NEIGHBOURS = {script: neighbours(rows) for script, rows in LAYOUTS.items()}
