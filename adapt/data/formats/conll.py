"""Sentences from CoNLL files: one token per line, columns separated by white space, blank lines between sentences.

Also CoNLL-U, GermEval, JNLPBA and KLUE as they are published: with comments, lines that begin a document, a column that
counts the tokens, tokens that are a space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapt.config import ConfigError
from adapt.data.files import lines
from adapt.data.tags import looks_like_a_tag

KEY_NAME = "data.conll"
VERSION = 2

DOCUMENT_STARTS = ("-DOCSTART-", "###MEDLINE:")
BLANK = " \t\r\n"  # other spaces, such as U+3000, may be a token
UD_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_NUMBER = re.compile(r"-?[1-9]\d*")
_RANGE_OR_EMPTY = re.compile(r"\d+-\d+|\d+\.\d+")  # CoNLL-U: a multiword token, an empty node; neither is a word
Sentence = tuple[str, list[str], list[str]]


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are split. token, tag: the places of their columns; feature: of the tag in MISC.

    counted: whether the first column counts the tokens. integers: whether tags may be numbers.
    """

    separator: str | None
    width: int
    token: int
    tag: int
    feature: str | None = None
    counted: bool = False
    integers: bool = False

    def columns(self, line: str) -> list[str]:
        """The columns of a line. A tab keeps spaces: a token may be one."""
        if self.separator is None:
            return re.split(r"[ \t]+", line.strip(BLANK))
        return line.rstrip(BLANK).split(self.separator)

    def is_token(self, columns: list[str]) -> bool:
        """Whether a line that begins with # is a token; else it is a comment."""
        tagged = self.feature is not None or (self.integers and columns[self.tag].isdigit())
        return len(columns) == self.width and (tagged or looks_like_a_tag(columns[self.tag]))


def read_conll(
    file: Path, token_column: str = "", tag_column: str = "", *, integers: bool = False
) -> Iterator[Sentence]:
    """(file:line of its first token, tokens, tags) of each sentence of a file, which may be packed as .gz.

    token_column, tag_column: the number of the column, from 1, or from the end if negative; of CoNLL-U also its name,
    or ``misc.<key>`` for one value of MISC. Anything else means the first and the last column. integers: whether tags
    may be numbers. Skipped are lines that begin a document (DOCUMENT_STARTS), comments before a sentence, multiword
    tokens (1-2) and empty nodes (1.1).
    Columns are separated by tabs if the file's first token line has one (a token may then be or contain spaces), else
    by spaces and tabs.

    Raises ConfigError with file and line for a line with one column, or with more or fewer columns than the first, and
    with the file where the first column counts the tokens and no column is named.
    """
    layout = layout_of(file, token_column, tag_column, integers)
    tokens: list[str] = []
    tags: list[str] = []
    indices: list[list[str]] = []  # the first columns of each sentence, to find out whether they count its tokens
    where = ""
    for number, line in enumerate(lines(file), start=1):
        columns = layout.columns(line)
        blank = not line.strip(BLANK) or line.startswith(DOCUMENT_STARTS)
        comment = line.startswith("#") and not tokens and not layout.is_token(columns)
        if blank and tokens:
            yield where, tokens, tags
            tokens, tags = [], []
        if blank or comment or (layout.counted and _RANGE_OR_EMPTY.fullmatch(columns[0])):
            continue
        _check(f"{file}:{number}", columns, layout)
        if not tokens:
            where = f"{file}:{number}"
            indices.append([])
        indices[-1].append(columns[0])
        tokens.append(columns[layout.token].strip(BLANK) or columns[layout.token])
        tags.append(_tag(f"{file}:{number}", columns[layout.tag].strip(BLANK), layout.feature))
    if tokens:
        yield where, tokens, tags
    if layout.token == 0 and layout.width > 2 and any(len(of_one) > 1 for of_one in indices):
        _refuse_count(file, indices, layout)


def layout_of(file: Path, token_column: str, tag_column: str, integers: bool) -> Layout:
    """The layout of a file, from its first token line. Raises ConfigError for a column that it does not have."""
    ud = file.name.removesuffix(".gz").endswith(".conllu")
    first = next(filter(_may_be_a_token, lines(file)), "") or next((one for one in lines(file) if one.strip(BLANK)), "")
    separator = "\t" if "\t" in first else None
    columns = Layout(separator, 0, 0, 0).columns(first)
    width = len(columns)
    name, _, feature = tag_column.partition(".") if tag_column.startswith("misc.") else (tag_column, "", "")
    if ud and not _NUMBER.fullmatch(name) and name not in UD_COLUMNS:
        raise ConfigError(
            f"{file}: CoNLL-U has no column of its own for spans; task.label_column=misc.<key> reads one value of its "
            f"last column, and a number or {', '.join(UD_COLUMNS)} a whole column"
        )
    token = _place(file, "task.text_column", token_column, width, 1 if ud else 0, ud)
    tag = _place(file, "task.label_column", name, width, width - 1, ud)
    return Layout(separator, width, token, tag, feature or None, token != 0 and columns[0].isdigit(), integers)


def _may_be_a_token(line: str) -> bool:
    return bool(line.strip(BLANK)) and not line.startswith((*DOCUMENT_STARTS, "#")) and not _is_range(line)


def _is_range(line: str) -> bool:
    return _RANGE_OR_EMPTY.fullmatch(line.partition("\t")[0]) is not None


def _place(file: Path, key: str, name: str, width: int, otherwise: int, ud: bool) -> int:
    if ud and name in UD_COLUMNS:
        return UD_COLUMNS.index(name)
    if not _NUMBER.fullmatch(name):
        return otherwise
    number = int(name)
    if not 1 <= abs(number) <= width:
        raise ConfigError(f"{file}: {key}={name}: its lines have {width} columns; possible are 1 to {width}")
    return number - 1 if number > 0 else width + number


def _tag(where: str, column: str, feature: str | None) -> str:
    if feature is None:
        return column
    values = dict(part.partition("=")[::2] for part in column.split("|"))
    if feature not in values:
        raise ConfigError(f"{where}: MISC is {column!r}, without {feature} (task.label_column=misc.{feature})")
    return values[feature]


def _check(where: str, columns: list[str], layout: Layout) -> None:
    if len(columns) < 2:
        raise ConfigError(
            f"{where}: {columns[0][:40]!r} has no tag; each line needs a token and, as its last column, a tag"
        )
    if len(columns) != layout.width:
        raise ConfigError(f"{where}: {len(columns)} columns, but the first token of the file has {layout.width}")


def _refuse_count(file: Path, indices: list[list[str]], layout: Layout) -> None:
    """Refuse a file whose first column is 1, 2, 3 in each sentence: it counts the tokens and is none of them."""
    if all(of_one == [str(place) for place in range(1, len(of_one) + 1)] for of_one in indices):
        raise ConfigError(
            f"{file}: its first column counts the tokens of each sentence; say which columns to read: "
            f"task.text_column=2 task.label_column={3 if layout.width > 3 else layout.width}, numbered from 1"
        )
