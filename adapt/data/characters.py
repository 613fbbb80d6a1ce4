"""What a character, a mark, a word and a unit of a text are, for comparing texts; never for what a model reads.

``comparable`` makes two ways to write the same characters equal. ``units`` cuts its result into what is counted: words,
and, of scripts that are written without spaces between words, each character with its marks. ``worth`` says how much a
unit counts, so that n-grams are equally long from run to run of a mixed text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

KEY_NAME = "data.characters"
VERSION = 1

PARTS = 12  # of a word: the worth of every unit is a whole number of them
LETTERS = 5  # of an alphabet that carry as much as a word; English messages of software have 5.04 letters a word
SYLLABLES = 1.5  # of Hangul; a syllable is one letter to Unicode and two or three to a reader
# Scripts without spaces between words: how many characters (with their marks) carry as much as a word, and the blocks.
# Translations of English messages have 1.8 Han, 3.8 Thai or Khmer and 2.9 Burmese a word; fewer here, so that fewer
# texts are too short to be found, at no more than 1% false alarms. docs/scripts.md shows both for other numbers.
WITHOUT_SPACES: dict[str, tuple[float, tuple[tuple[int, int], ...]]] = {
    "han": (1.5, ((0x3005, 0x3007), (0x3021, 0x3029), (0x3100, 0x312F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF))),
    "rare han": (1.5, ((0xF900, 0xFAFF), (0x16FE0, 0x18DFF), (0x1B170, 0x1B2FF), (0x20000, 0x3FFFF))),
    "kana": (3, ((0x3041, 0x3096), (0x3099, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF))),
    "thai": (3, ((0x0E01, 0x0E4E), (0x0E81, 0x0ECE), (0x0EDC, 0x0EDF), (0x1A20, 0x1A7F), (0xAA80, 0xAADF))),
    "khmer": (3, ((0x1780, 0x17D3), (0x17D7, 0x17DD), (0x1950, 0x19CF), (0x1B00, 0x1B4F), (0xA980, 0xA9CF))),
    "burmese": (3, ((0x1000, 0x103F), (0x1050, 0x108F), (0xA9E0, 0xA9EF), (0xA9FA, 0xA9FE), (0xAA60, 0xAA7F))),
}
# Unicode calls these ignorable, beside format characters (soft hyphen, zero-width ones, byte-order mark, directions):
# the combining grapheme joiner, fillers of Hangul, inherent vowels of Khmer, selectors of variants.
_IGNORABLE = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)}
_VARIANTS = range(0xE0100, 0xE01F0)
# Format characters that are drawn, as signs around numbers
_DRAWN = {*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0xFFF9, 0xFFFA, 0xFFFB, 0x110BD, 0x110CD}
# Without these a text is the same text: the points of Hebrew, Arabic and Syriac, vowels that few texts write, and
# tatweel, which only stretches a word. Vowel signs of Indic scripts are always written, so they count.
_POINTS = [range(0x0591, 0x05BE), (0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7), (0x0640, 0x0670)]
_POINTS += [range(0x0610, 0x061B), range(0x064B, 0x0660), range(0x06D6, 0x06DD), range(0x06DF, 0x06E5)]
_POINTS += [
    (0x06E7, 0x06E8),
    range(0x06EA, 0x06EE),
    range(0x0730, 0x074B),
    range(0x08D3, 0x08E2),
    range(0x08E3, 0x0900),
]
SIGMA = 0x03A3  # the capital, whose small letter depends on what follows
_LAST = 0x1F000  # no mark and no format character lies between here and the tags at 0xE0001


def comparable(text: str) -> str:
    """The text as it is compared: compatibility forms and case folded, without what is invisible or only decorates.

    Case folding as in Unicode's NFKC_Casefold, where composed and decomposed Hangul, ligatures, full-width letters and
    half-width Kana are equal. Left out: invisible characters; enclosing marks and strokes through letters; the points
    of Arabic, Hebrew and Syriac; tatweel. Turkish dotless i counts as i, since both have the capital I. Signs, spaces
    and the order of characters stay.
    """
    if is_plain(text):
        return text.lower()
    return _folded(text)


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFD", _invisible().sub("", text)).casefold()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = _decoration().sub("", text).replace("i\u0307", "i").replace("\u0131", "i")
    return unicodedata.normalize("NFKC", text)


def is_plain(text: str) -> bool:
    """Whether to be compared the text needs nothing but lower case: no mark, nothing invisible, nothing to compose."""
    return text.isascii() or not _special().search(text)


def has_spaceless(text: str) -> bool:
    """Whether a text has a character of a script without spaces."""
    return not text.isascii() and _beyond.search(text) is not None and _spaceless().search(text) is not None


def normalised(text: str) -> str:
    """Letters, marks and digits of a comparable text, with single spaces; none beside a script without spaces."""
    text = _gap().sub(" ", text).strip()
    return _needless_space().sub("", text)


def units(form: str) -> list[str]:
    """The words of a normalised text; of runs without spaces, each character with its marks."""
    return _unit().findall(form) if has_spaceless(form) else form.split()


def words(form: str) -> list[str]:
    """The words of a normalised text; of a run without spaces, its pairs of adjacent characters, as they overlap."""
    if not has_spaceless(form):
        return form.split()
    return [word for run in _run().findall(form) for word in _pairs(run)]


def terms(text: str) -> list[str]:
    """The words of a comparable text of two or more letters, marks and digits, where _ is a letter, as to scikit-learn.

    Of a run without spaces, its pairs of adjacent characters.
    """
    if not has_spaceless(text) and is_plain(text):
        return _TERM.findall(text)
    return [word for run in _term().findall(text) for word in _pairs(run) if len(word) > 1]


def _pairs(run: str) -> list[str]:
    """Adjacent characters of a run without spaces; a word, or a lone character, as it is."""
    if not _spaceless().match(run):
        return [run]
    characters = _spaceless_unit().findall(run)
    return [one + other for one, other in zip(characters, characters[1:], strict=False)] or [run]


def spans(text: str) -> list[tuple[int, int]]:
    """The characters [begin, end) of each word of any text, or of each character of a script without spaces."""
    pattern = _WORD if is_plain(text) and not has_spaceless(text) else _span()
    return [match.span() for match in pattern.finditer(text)]


def tokens(text: str) -> list[str]:
    """Units and runs of other signs of a comparable text, in order."""
    return (_TOKEN if not has_spaceless(text) and is_plain(text) else _token()).findall(text)


def length(text: str) -> int:
    """How many words a text has: what stands between spaces, and characters without spaces by what they are worth."""
    if not has_spaceless(text):
        return len(text.split())
    parts = sum(map(worth, _spaceless_unit().findall(text)))
    return len(_spaceless_run().sub(" ", text).split()) + parts // PARTS


def grams(form: str, n: int) -> Iterator[tuple[str, ...]]:
    """The n-grams of a normalised text, in order: from each unit on, as many units as are worth n words.

    A text that is worth less than n words has none.
    """
    spaceless = has_spaceless(form)
    return grams_of(_unit().findall(form) if spaceless else form.split(), n, spaceless)


def grams_of(parts: list[str], n: int, spaceless: bool) -> Iterator[tuple[str, ...]]:
    """The same of a text's units; spaceless: whether some of them are of a script without spaces."""
    return _by_worth(parts, n * PARTS) if spaceless else zip(*(parts[start:] for start in range(n)), strict=False)


def has_letters_of(form: str, n: int) -> bool:
    """Whether a normalised text has as many letters as n words: LETTERS a word, SYLLABLES of Hangul.

    In scripts without spaces, where the end of a text is not the end of a word, two thirds as many are enough.
    """
    letters = len(form) - form.count(" ")
    if form.isascii():
        return letters >= LETTERS * n
    syllables = len(_SYLLABLE.findall(form))
    without = _spaceless_unit().findall(form)
    spaced = (letters - syllables - sum(map(len, without))) / LETTERS + syllables / SYLLABLES
    return spaced + 1.5 * sum(map(worth, without)) / PARTS >= n


def is_lone(word: str) -> bool:
    """Whether one of the ``words`` is a single character of a script without spaces."""
    return worth(word) < PARTS and len(units(word)) == 1


def joined(parts: Sequence[str]) -> str:
    """The normalised text of these units."""
    text = " ".join(parts)
    return text if text.isascii() else _needless_space().sub("", text)


@cache
def worth(unit: str) -> int:
    """How much a unit counts, in PARTS of a word: PARTS for a word, fewer for a character without spaces."""
    return next((parts for first, last, parts in _worths() if first <= ord(unit[0]) <= last), PARTS)


def _by_worth(parts: Sequence[str], enough: int) -> Iterator[tuple[str, ...]]:
    end = sum_ = 0
    for start, unit in enumerate(parts):
        while sum_ < enough and end < len(parts):
            sum_ += worth(parts[end])
            end += 1
        if sum_ < enough:
            return
        yield tuple(parts[start:end])
        sum_ -= worth(unit)


# Patterns for text that is not plain ASCII: built when the first such text comes, because that takes some 40 ms

_SYLLABLE = re.compile("[\uac00-\ud7a3]")  # of Hangul
_WORD = re.compile(r"[^\W_]+")
_TERM = re.compile(r"\w\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]+")
_beyond = re.compile("[^\0-\u0dff\u1e00-\u206f]")  # what a script without spaces may have


def _inside(places: Iterable[int]) -> str:
    """The inside of a character class that matches these code points."""
    ends: list[list[int]] = []
    for place in sorted(set(places)):
        if ends and place == ends[-1][1] + 1:
            ends[-1][1] = place
        else:
            ends.append([place, place])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ends)


def _of(*categories: str) -> list[int]:
    return [place for place in range(_LAST) if unicodedata.category(chr(place)) in categories]


@cache
def marks() -> str:
    """The inside of a character class that matches all marks: accents, vowel signs, points."""
    return _inside([*_of("Mn", "Mc", "Me"), *_VARIANTS])


@cache
def _worths() -> list[tuple[int, int, int]]:
    return [(*block, int(PARTS / per_word)) for per_word, blocks in WITHOUT_SPACES.values() for block in blocks]


@cache
def _without() -> str:
    places = (range(first, last + 1) for first, last, _ in _worths())
    return _inside(place for block in places for place in block)


@cache
def _special() -> re.Pattern[str]:
    """Everything but the letters and signs of Europe that stay as they are, or have one small letter."""
    europe = (
        *range(0x250),
        *range(0x370, 0x530),
        *range(0x1E00, 0x1F00),
        *range(0x2000, 0x2070),
        *range(0x20A0, 0x20C0),
    )
    plain = [place for place in europe if _folded(chr(place)) == chr(place).lower() and place != SIGMA]
    return re.compile(f"[^{_inside(plain)}]")


@cache
def _invisible() -> re.Pattern[str]:
    tags = range(0xE0000, 0xE0080)
    return re.compile(f"[{_inside((set(_of('Cf')) | _IGNORABLE | set(_VARIANTS) | set(tags)) - _DRAWN)}]+")


@cache
def _decoration() -> re.Pattern[str]:
    strokes = [place for place in _of("Mn") if unicodedata.combining(chr(place)) == 1]
    return re.compile(f"[{_inside([*_of('Me'), *strokes, *(place for block in _POINTS for place in block)])}]+")


@cache
def _gap() -> re.Pattern[str]:
    return re.compile(rf"(?:^|[\W_](?<![{marks()}]))[\W_]*")  # a mark after a gap belongs to no letter


@cache
def _spaceless() -> re.Pattern[str]:
    return re.compile(f"[{_without()}]")


@cache
def _needless_space() -> re.Pattern[str]:
    return re.compile(f" (?=[{_without()}])|(?<=[{_without()}]) ")


@cache
def _spaceless_unit() -> re.Pattern[str]:
    return re.compile(f"[{_without()}][{marks()}]*")


@cache
def _spaceless_run() -> re.Pattern[str]:
    return re.compile(f"(?:[{_without()}][{marks()}]*)+")


@cache
def _unit() -> re.Pattern[str]:
    return re.compile(f"{_spaceless_unit().pattern}|[^ {_without()}]+")


@cache
def _run() -> re.Pattern[str]:
    return re.compile(f"{_spaceless_run().pattern}|[^ {_without()}]+")


@cache
def _span() -> re.Pattern[str]:
    return re.compile(rf"{_spaceless_unit().pattern}|(?:(?![{_without()}])[^\W_][{marks()}]*)+")


@cache
def _term() -> re.Pattern[str]:
    return re.compile(rf"{_spaceless_run().pattern}|(?:(?![{_without()}])\w[{marks()}]*)+")


@cache
def _token() -> re.Pattern[str]:
    word = rf"(?:(?![{_without()}])\w[{marks()}]*)+"
    return re.compile(rf"{_spaceless_unit().pattern}|{word}|[^\w\s{marks()}]+|[{marks()}]+")
