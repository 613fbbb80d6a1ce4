"""Schemes that write spans as one tag per word, and the spans that the tags of a sentence encode.

Inside the project tags are IOB2: B-X begins a span of type X, I-X continues it, O is outside. Files may hold IOB1,
IOB2, IOE1, IOE2, BIOES, BILOU, BMES and BMEWO. One rule reads them all, that of conlleval, the evaluation script of
CoNLL-2000 and 2003: B, S, U and W begin a span; E, S, L, U and W end it; any other tag continues a span of its type,
and begins one where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from adapt.config import ConfigError

KEY_NAME = "data.tags"
VERSION = 1

OUTSIDE = "O"
Span = tuple[int, int, str]  # first token, the one after its last, type
_BEGIN, _END = frozenset("BSUW"), frozenset("ESLUW")
_LETTERS = "BIESLUMW"
# How a tag names letter and type, by what an error calls it. The first that fits all tags of a task is taken.
_FORMS = {
    "B-X": re.compile(rf"(?P<letter>[{_LETTERS}])-(?P<type>.+)"),
    "X-B": re.compile(rf"(?P<type>.+)-(?P<letter>[{_LETTERS}])"),
    "B_X": re.compile(rf"(?P<letter>[{_LETTERS}])_(?P<type>.+)"),
    "X_B": re.compile(rf"(?P<type>.+)_(?P<letter>[{_LETTERS}])"),
}
_OUTSIDE_OF = {"X-B": {OUTSIDE, "-"}, "X_B": {OUTSIDE, "-"}}  # the others have only O
POSSIBLE = (
    "possible are O and, with a type X, B-X and I-X (IOB), or B-X, I-X, E-X and S-X (BIOES); likewise IOE, BILOU, BMES "
    "and BMEWO, and the letter at the end (X_B)"
)


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence with tags such as B-X, by conlleval's rule (see the module's docstring)."""
    result: list[Span] = []
    start, name, open_span = 0, "", False
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter, _, kind = tag.partition("-")
        if open_span and (tag == OUTSIDE or letter in _BEGIN or kind != name):
            result.append((start, place, name))
            open_span = False
        if tag != OUTSIDE and not open_span:
            start, name, open_span = place, kind, True
        if open_span and letter in _END:
            result.append((start, place + 1, name))
            open_span = False
    return result


def iob2(tags: Sequence[str]) -> list[str]:
    """Tags such as B-X, of any scheme in the module's docstring, converted to IOB2."""
    converted = [OUTSIDE] * len(tags)
    for start, end, name in spans(tags):
        converted[start:end] = [f"B-{name}"] + [f"I-{name}"] * (end - start - 1)
    return converted


def form_of(tags: Iterable[str]) -> str | None:
    """The first form in which all tags of a task are written; None if there is none.

    Raises ConfigError if both B_X and X_B fit and give different types.
    """
    distinct = set(tags)
    fitting = [form for form in _FORMS if all(_read(form, tag) for tag in distinct)]
    if {"B_X", "X_B"} <= set(fitting) and not {"B-X", "X-B"} & set(fitting) and distinct - {OUTSIDE}:
        raise ConfigError(
            f"the tags {', '.join(sorted(distinct)[:6])} may begin or end with the letter of their scheme; write B-X"
        )
    return fitting[0] if fitting else None


def likeliest_form(tags: Iterable[str]) -> str:
    """The form of most tags, by which to tell which tags are wrong."""
    distinct = set(tags)
    return max(_FORMS, key=lambda form: sum(_read(form, tag) is not None for tag in distinct))


def plain(form: str, tag: str) -> str | None:
    """A tag of that form as O or B-X; None if it has another form."""
    return _read(form, tag)


def looks_like_a_tag(text: str) -> bool:
    """Whether a column may be a tag: what tells a token line from a comment."""
    return text == "-" or any(_read(form, text) for form in _FORMS)


def _read(form: str, tag: str) -> str | None:
    if tag in _OUTSIDE_OF.get(form, {OUTSIDE}):
        return OUTSIDE
    match = _FORMS[form].fullmatch(tag)
    return f"{match['letter']}-{match['type']}" if match else None
