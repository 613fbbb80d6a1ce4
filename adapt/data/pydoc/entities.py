"""A tagging task over the docstrings of scientific packages: find what their markup names, with the markup removed.

The types of entities, and the markup that they come from:

- CLASS: the roles ``class`` and ``exc``.
- FUNCTION: the roles ``func`` and ``meth``.
- PARAMETER: a name in back quotes or in emphasis that is listed in the docstring's own section of parameters.
- CODE: anything else in double back quotes.

A sentence is left out if it has no entity, or if it has markup without a clear type: other names in single back quotes
(numpydoc links them to any object of that name), formulas, other roles. Mentions that the authors did not mark up are
not tagged, so no tagger can reach an F1 of 1. Objects belong to train, dev or test as in all pydoc tasks. A dev
sentence must hold no text of test, and a train sentence no text of dev or test.
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
_NO_TYPE = "?"  # stands for markup without a clear type
# These characters mark spans while sections.blocks removes all other markup. No text holds them: they are from
# Unicode's private use area.
_START, _END = "\ue000", "\ue001"
_TYPES = ("CLASS", "CODE", "FUNCTION", "PARAMETER", _NO_TYPE)
_TYPE_MARKS = {name: chr(0xE010 + number) for number, name in enumerate(_TYPES)}
_MARKED = re.compile(f"{_START}([{''.join(_TYPE_MARKS.values())}])([^{_START}{_END}]*){_END}")
_MARKUP = re.compile(
    r":(?:\w+:)?(?P<role>[\w.+-]+):`(?P<target>[^`]*)`"
    r"|``(?P<code>[^`]+)``"
    r"|`[^`<]*<[^`>]*>`_*"  # a web link: its text is ordinary text
    r"|`(?P<quoted>[^`\n]+)`(?P<link>_*)"
    r"|(?<![\w*])\*(?P<stressed>\w+)\*(?![\w*])"
)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LEFT_OVER = re.compile(r"[`\\\ue000-\ue01f]|:[\w-]+:|\*\*|:\s*:|\|\w+\|")


def check(question: str | None) -> None:
    """Raise ConfigError for a question that is not a tagging task."""
    if question != QUESTION:
        raise ConfigError(f"task.question={question}: no such question for task.kind=tagging; possible: {QUESTION}")


def task() -> dict[str, list[Tagged]]:
    """The sentences of train, dev and test, each split sorted by the hash of its texts.

    Raises ConfigError if a package is not installed.
    """
    examples: list[tuple[str, Tagged]] = []
    for split, later in (("test", ()), ("dev", ("test",)), ("train", ("dev", "test"))):
        examples += ((split, example) for example in _of_split(split, corpus.banned_texts(*later)))
    different = list(distinct(examples, lambda item: " ".join(item[1][0])))
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
    """The sentences of a docstring that have entities; ``parts``: its blocks, from which its parameters are read."""
    names = {
        name.strip(" *")
        for part in parts
        if part.section in PARAMETER_SECTIONS
        for name in part.header.partition(":")[0].split(",")
    }
    for part in blocks(marked(docstring.text, names)):
        plain, spans = unmarked(part.text)
        start = 0
        for sentence in sentences(plain):
            start = plain.index(sentence, start)
            inside = [span for span in spans if span[0] < start + len(sentence) and span[1] > start]
            tagged = _tagged(sentence, [(first - start, last - start, name) for first, last, name in inside])
            if tagged is not None:
                yield tagged
            start += len(sentence)


def marked(text: str, parameters: set[str]) -> str:
    """The text with the markup of each entity replaced by marks of its span and type."""

    def mark(match: re.Match[str]) -> str:
        role, target, code = match["role"], match["target"], match["code"]
        quoted, stressed = match["quoted"], match["stressed"]
        if stressed:
            return _mark("PARAMETER", stressed) if stressed in parameters else match[0]
        if code:
            return _mark("PARAMETER" if code in parameters else "CODE", code)
        if quoted and not match["link"]:
            return _mark("PARAMETER" if quoted in parameters else _NO_TYPE, quoted)
        if role:
            shown = target.rpartition(".")[2] if target.startswith("~") else target.lstrip("!.")
            has_type = role in TYPE_OF_ROLE and not re.search(r"[\s<]", shown)
            return _mark(TYPE_OF_ROLE[role] if has_type else _NO_TYPE, shown)
        return match[0]

    return _MARKUP.sub(mark, text)


def _mark(name: str, text: str) -> str:
    return f"{_START}{_TYPE_MARKS[name]}{text}{_END}"


def unmarked(text: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The text without the marks of :func:`marked`, and (start, end, type) of each span."""
    names = {mark: name for name, mark in _TYPE_MARKS.items()}
    plain, spans, end = "", [], 0
    for match in _MARKED.finditer(text):
        plain += text[end : match.start()]
        spans.append((len(plain), len(plain) + len(match[2]), names[match[1]]))
        plain, end = plain + match[2], match.end()
    return plain + text[end:], spans


def _tagged(sentence: str, spans: list[tuple[int, int, str]]) -> Tagged | None:
    """The sentence's tokens and tags; None if it is to be left out (see the module) or a span cuts a token."""
    tokens = list(_TOKEN.finditer(sentence))
    starts, ends = {token.start() for token in tokens}, {token.end() for token in tokens}
    shortest, longest = SENTENCE_TOKENS
    if not spans or not shortest <= len(tokens) <= longest or _LEFT_OVER.search(sentence):
        return None
    tags = ["O"] * len(tokens)
    for first, last, name in spans:
        if name == _NO_TYPE or first not in starts or last not in ends:
            return None
        inside = [number for number, token in enumerate(tokens) if first <= token.start() < last]
        tags[inside[0]] = f"B-{name}"
        for number in inside[1:]:
            tags[number] = f"I-{name}"
    return [token[0] for token in tokens], tags
