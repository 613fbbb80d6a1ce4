"""A tagging task over the docstrings of scientific packages: what their own markup names, with the markup removed.

Types, and the markup that tells them:

- CLASS: the roles ``class`` and ``exc``.
- FUNCTION: the roles ``func`` and ``meth``.
- PARAMETER: a name in back quotes or in emphasis that the same docstring's section of parameters lists.
- CODE: anything else in double back quotes.

A sentence is left out if it has none of them, or any markup that does not tell a type: a single back quote around
another name (numpydoc links it to whatever bears the name), formulas, other roles. Mentions that the authors did not
mark stay outside the spans, so that no tagger can reach an F1 of 1. Objects belong to train, dev or test as in all
pydoc tasks, and a sentence that holds text of a split measured later is left out of the earlier one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from adapt.config import ConfigError
from adapt.data.leakage import BannedTexts
from adapt.data.pydoc import corpus
from adapt.data.pydoc.docstrings import Docstring
from adapt.data.pydoc.sections import Block, blocks
from adapt.data.text import distinct, in_hash_order, sentences

KEY_NAME = "data.pydoc.entities"
VERSION = 1

Tagged = tuple[list[str], list[str]]  # tokens, tags (IOB2)

QUESTION = "entities"
TYPE_OF_ROLE = {"class": "CLASS", "exc": "CLASS", "func": "FUNCTION", "meth": "FUNCTION"}
PARAMETER_SECTIONS = ("parameters", "other parameters")
SENTENCE_TOKENS = (6, 60)
MOST_OF_ONE_OBJECT = 8  # sentences
_UNTOLD = "?"  # the type of markup that does not tell one
# Marks of a span while sections.blocks removes all other markup: characters that no text has, of Unicode's private use.
_START, _END = "\ue000", "\ue001"
_TYPES = ("CLASS", "CODE", "FUNCTION", "PARAMETER", _UNTOLD)
_TYPE_MARKS = {name: chr(0xE010 + number) for number, name in enumerate(_TYPES)}
_MARKED = re.compile(f"{_START}([{''.join(_TYPE_MARKS.values())}])([^{_START}{_END}]*){_END}")
_MARKUP = re.compile(
    r":(?:\w+:)?(?P<role>[\w.+-]+):`(?P<target>[^`]*)`"
    r"|``(?P<code>[^`]+)``"
    r"|`[^`<]*<[^`>]*>`_*"  # a link to the web: its text is text
    r"|`(?P<quoted>[^`\n]+)`(?P<link>_*)"
    r"|(?<![\w*])\*(?P<stressed>\w+)\*(?![\w*])"
)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LEFT_OVER = re.compile(r"[`\\\ue000-\ue01f]|:[\w-]+:|\*\*|:\s*:|\|\w+\|")


def check(question: str | None) -> None:
    """Raise ConfigError for a question that is no tagging task."""
    if question != QUESTION:
        raise ConfigError(f"task.question={question}: no such question of task.kind=tagging; possible: {QUESTION}")


def task() -> dict[str, list[Tagged]]:
    """train, dev and test, each by the hash of its text. Raises ConfigError for a package that is not installed."""
    found: list[tuple[str, Tagged]] = []
    for split, later in (("test", ()), ("dev", ("test",)), ("train", ("dev", "test"))):
        found += ((split, example) for example in _of_split(split, corpus.text_of(*later)))
    different = list(distinct(found, lambda item: " ".join(item[1][0])))
    return {
        name: in_hash_order((example for split, example in different if split == name), lambda e: " ".join(e[0]))
        for name in corpus.SPLITS
    }


def _of_split(split: str, banned: BannedTexts) -> Iterator[Tagged]:
    taken: Counter[str] = Counter()
    for docstring, parts in corpus.parsed("scientific"):
        if corpus.split_of(docstring.owner) == split:
            for example in tagged_sentences(docstring, parts):
                if taken[docstring.owner] < MOST_OF_ONE_OBJECT and not banned.found_in(" ".join(example[0])):
                    taken[docstring.owner] += 1
                    yield example


def tagged_sentences(docstring: Docstring, parts: Iterable[Block]) -> Iterator[Tagged]:
    """The sentences of a docstring whose markup names something; ``parts``: its blocks, which tell its parameters."""
    names = {
        name.strip(" *")
        for part in parts
        if part.section in PARAMETER_SECTIONS
        for name in part.header.partition(":")[0].split(",")
    }
    for part in blocks(marked(docstring.text, names)):
        plain, places = unmarked(part.text)
        start = 0
        for sentence in sentences(plain):
            start = plain.index(sentence, start)
            inside = [place for place in places if place[0] < start + len(sentence) and place[1] > start]
            tagged = _tagged(sentence, [(first - start, last - start, name) for first, last, name in inside])
            if tagged is not None:
                yield tagged
            start += len(sentence)


def marked(text: str, parameters: set[str]) -> str:
    """The text with each piece of naming markup replaced by marks of its span and type."""

    def mark(found: re.Match[str]) -> str:
        role, target, code = found["role"], found["target"], found["code"]
        quoted, stressed = found["quoted"], found["stressed"]
        if stressed:
            return _mark("PARAMETER", stressed) if stressed in parameters else found[0]
        if code:
            return _mark("PARAMETER" if code in parameters else "CODE", code)
        if quoted and not found["link"]:
            return _mark("PARAMETER" if quoted in parameters else _UNTOLD, quoted)
        if role:
            shown = target.rpartition(".")[2] if target.startswith("~") else target.lstrip("!.")
            told = role in TYPE_OF_ROLE and not re.search(r"[\s<]", shown)
            return _mark(TYPE_OF_ROLE[role] if told else _UNTOLD, shown)
        return found[0]

    return _MARKUP.sub(mark, text)


def _mark(name: str, text: str) -> str:
    return f"{_START}{_TYPE_MARKS[name]}{text}{_END}"


def unmarked(text: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The text without the marks of :func:`marked`, and (start, end, type) of each span in it."""
    names = {mark: name for name, mark in _TYPE_MARKS.items()}
    plain, places, end = "", [], 0
    for found in _MARKED.finditer(text):
        plain += text[end : found.start()]
        places.append((len(plain), len(plain) + len(found[2]), names[found[1]]))
        plain, end = plain + found[2], found.end()
    return plain + text[end:], places


def _tagged(sentence: str, places: list[tuple[int, int, str]]) -> Tagged | None:
    """The sentence's tokens and tags; None where the module's docstring leaves it out, or a span cuts a token."""
    tokens = list(_TOKEN.finditer(sentence))
    starts, ends = {token.start() for token in tokens}, {token.end() for token in tokens}
    shortest, longest = SENTENCE_TOKENS
    if not places or not shortest <= len(tokens) <= longest or _LEFT_OVER.search(sentence):
        return None
    tags = ["O"] * len(tokens)
    for first, last, name in places:
        if name == _UNTOLD or first not in starts or last not in ends:
            return None
        inside = [number for number, token in enumerate(tokens) if first <= token.start() < last]
        tags[inside[0]] = f"B-{name}"
        for number in inside[1:]:
            tags[number] = f"I-{name}"
    return [token[0] for token in tokens], tags
