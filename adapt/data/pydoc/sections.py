"""Cuts a docstring into blocks of prose: the paragraphs and list entries of its sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

KEY_NAME = "data.pydoc.sections"
VERSION = 1

MIN_LETTERS = 0.7  # share of letters among the non-space characters; tables, formulas and signatures have fewer

_UNDERLINE = re.compile(r"^[-=~*^]{3,}$")
_GOOGLE_HEADING = re.compile(
    r"^(Args|Arguments|Keyword [Aa]rg(?:ument)?s|Parameters|Returns?|Yields|Raises|Attributes|Notes?|Shape|Examples?"
    r"|Inputs?|Outputs?|References|See [Aa]lso|Warnings?):$"
)
_ENTRIES = {
    "parameters", "other parameters", "returns", "yields", "receives", "raises", "warns", "attributes", "methods",
    "see also", "args", "arguments", "keyword args", "keyword arguments", "return", "inputs", "input", "outputs",
    "output", "shape",
}  # fmt: skip
_ADMONITION = re.compile(r"^\.\. (?:note|warning|caution|tip|important|seealso|hint|attention|admonition)::")
_DIRECTIVE = re.compile(r"^\.\.( |$)")
_ANY_MARKUP = re.compile(r"[`*~]|\]_|::")
_ROLE = re.compile(r":[\w.+-]+(?::[\w.+-]+)*:`")
_LINK = re.compile(r"`([^`<]*?) ?<[^`>]*>`_*")
_CITATION_MARK = re.compile(r"\s*\[[\w ,]{1,12}\]_")
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_MARKS = re.compile(r"`+(?:__?(?!\w))?|\*\*|(?<!\w)~\.?(?=\w)")
_EMPHASIS = re.compile(r"(?<![\w*])\*(\w+)\*(?![\w*])")
_LITERAL_FOLLOWS = re.compile(r"\s*::(?=\s|$)")


@dataclass(frozen=True)
class Block:
    """One paragraph, or one entry: its ``name : type`` line as ``header`` and its description. No line breaks."""

    section: str  # heading in lower case; before any heading "summary", then "description" from the second paragraph on
    header: str
    text: str


def blocks(docstring: str) -> Iterator[Block]:
    """The prose of a docstring, in order, without code, tables, directives and markup."""
    for section, lines in _sections(docstring.expandtabs().split("\n")):
        if section == "references":
            continue
        if section in _ENTRIES:
            yield from _entries(section, lines)
            continue
        for number, paragraph in enumerate(_paragraphs(lines)):
            text = _prose(paragraph)
            if text:
                yield Block("description" if section == "summary" and number else section, "", text)


def _sections(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    name, body = "summary", list[str]()
    skip = False
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if skip:
            skip = False
        elif line and not line.startswith(" ") and _UNDERLINE.match(after.strip()):
            yield name, body
            name, body, skip = line.strip().rstrip(":").lower(), [], True
        elif _GOOGLE_HEADING.match(line):
            yield name, body
            name, body = line[:-1].lower(), []
        else:
            body.append(line)
    yield name, body


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    for blank, group in groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            yield list(group)


def _entries(section: str, lines: list[str]) -> Iterator[Block]:
    """The entries of a section: each is a line at the section's margin with the indented lines below it."""
    written = [line for line in lines if line.strip()]
    if not written:
        return
    margin = min(_indent(line) for line in written)
    header, description = "", list[str]()
    for line in [*lines, " " * margin + "end"]:
        if line.strip() and _indent(line) == margin:
            text = " ".join(filter(None, map(_prose, _paragraphs(description))))
            if text or header:
                yield Block(section, header, text)
            header, description = _clean(line), []
        else:
            description.append(line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _prose(paragraph: list[str]) -> str:
    """A paragraph on one line, or "" when it is code, a table, a directive or mostly symbols."""
    first = paragraph[0].strip()
    if first.startswith(">>>") or (_DIRECTIVE.match(first) and not _ADMONITION.match(first)):
        return ""
    lines = []
    for line in map(str.strip, paragraph):
        if line.startswith(">>>"):
            break
        if not _UNDERLINE.match(line):
            lines.append(_ADMONITION.sub("", line).strip())
    text = _clean(" ".join(lines))
    letters = len(_NOT_LETTERS.sub("", text))
    return text if letters >= MIN_LETTERS * (len(text) - text.count(" ")) else ""


def _clean(text: str) -> str:
    """Remove reStructuredText roles, link targets, citation marks, back quotes, bold and repeated spaces."""
    if not _ANY_MARKUP.search(text):  # this saves a third of the time of the whole extraction
        return " ".join(text.split())
    text = _LINK.sub(r"\1", _ROLE.sub("`", text))
    text = _EMPHASIS.sub(r"\1", _MARKS.sub("", _CITATION_MARK.sub("", text)))
    return " ".join(_LITERAL_FOLLOWS.sub(":", text).split())
