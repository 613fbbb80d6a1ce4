"""A corpus that every installation has: the docstrings of the packages that the project itself installs.

Every documented object of the scientific packages belongs to train, dev or test, by the hash of its name. Text of dev
and test objects is in no corpus, not even where another object repeats it.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from itertools import filterfalse, groupby

from adapt.config import ConfigError
from adapt.data.leakage import BannedTexts
from adapt.data.pydoc.docstrings import STANDARD_LIBRARY, Docstring, documented_objects, folder_of
from adapt.data.pydoc.sections import Block, blocks
from adapt.data.text import hash_share, normalise, sentences

KEY_NAME = "data.pydoc.corpus"
VERSION = 1

DOMAINS = {
    "scientific": ("numpy", "scipy", "sklearn", "pandas", "matplotlib"),
    "general": (
        STANDARD_LIBRARY, "torch", "transformers", "sympy", "networkx", "mpmath", "datasets", "accelerate", "peft",
        "huggingface_hub", "hydra", "omegaconf", "fontTools", "pyarrow", "PIL", "pygments", "jinja2", "fsspec",
        "joblib", "tqdm", "packaging", "pyparsing", "yaml", "filelock", "click", "typer", "rich", "anyio", "dill",
        "psutil", "dateutil", "markdown_it", "narwhals", "regex",
    ),
}  # fmt: skip
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "PyYAML", "hydra": "hydra-core"} | {
    "dateutil": "python-dateutil",
    "markdown_it": "markdown-it-py",
}  # import name -> name of the distribution that installs it, where they differ
SPLITS = {"train": 0.7, "dev": 0.1, "test": 0.2}  # shares of the scientific packages' objects
_PATH = re.compile(r"(?<![\w.])(?:numpy|np|scipy|sklearn|pandas|pd|matplotlib|plt)(?:\.\w+)+")
PASSAGE_WORDS = (30, 120)  # at the end of a section, a passage of at least 30 words is closed; none has more than 120
MIN_SHARED_WORDS = 6  # shorter sentences ("Default is None.") may occur in two splits


def split_of(owner: str) -> str:
    """The split of a documented object, by the hash of its qualified name."""
    share = hash_share(owner)
    for split, size in SPLITS.items():
        if share < size:
            return split
        share -= size
    return split


def check(domain: str | None) -> None:
    """Raise ConfigError for an unknown domain, or if one of its packages is not installed."""
    if domain not in DOMAINS:
        raise ConfigError(f"corpus.domain={domain}: no such domain; possible: {', '.join(DOMAINS)}")
    for package in DOMAINS[domain]:
        folder_of(package)


@cache
def fingerprint() -> str:
    """SHA-256 of all that the text is made from: the versions of Python and of the packages."""
    packages = [package for packages in DOMAINS.values() for package in packages if package != STANDARD_LIBRARY]
    versions = (f"{package} {version(DISTRIBUTIONS.get(package, package))}" for package in packages)
    return hashlib.sha256("\n".join([f"python {platform.python_version()}", *versions]).encode()).hexdigest()


def corpus(domain: str) -> list[str]:
    """Passages of the domain's docstrings: no block of text twice, none from a dev or test object.

    Domains: scientific, general. Raises ConfigError for any other, or if a package is not installed.
    """
    check(domain)
    banned = banned_texts("dev", "test")
    seen: set[str] = set()
    passages: list[str] = []
    for owner, documented in groupby(parsed(domain), key=lambda item: item[0].owner):
        if domain == "general" or split_of(owner) == "train":
            allowed = (without(block, banned) for _, parts in documented for block in parts)
            passages += filterfalse(banned.found_in, _passages(_new(filter(None, allowed), seen)))
    return passages


def _new(parts: Iterable[Block], seen: set[str]) -> Iterator[Block]:
    """The blocks that are not in ``seen`` yet; adds them to it."""
    for block in parts:
        form = normalise(f"{block.header} {block.text}")
        if form not in seen:
            seen.add(form)
            yield block


@cache
def parsed(domain: str) -> tuple[tuple[Docstring, tuple[Block, ...]], ...]:
    """The domain's docstrings, each with its blocks of prose."""
    return tuple((docstring, tuple(blocks(docstring.text))) for docstring in documented_objects(DOMAINS[domain]))


@cache
def banned_texts(*splits: str) -> BannedTexts:
    """The blocks and sentences of these splits' scientific objects, as texts that are banned elsewhere."""
    return BannedTexts((piece for split in splits for piece in _held_out(split)), MIN_SHARED_WORDS, threshold=None)


@cache
def _held_out(split: str) -> list[str]:
    """Every part of a split's text by which a copy is recognised."""
    return [
        piece
        for docstring, parts in parsed("scientific")
        if split_of(docstring.owner) == split
        for block in parts
        for piece in _pieces(block, docstring)
    ]


def _pieces(block: Block, docstring: Docstring) -> Iterator[str]:
    """The parts of a block by which a copy of it is recognised, even a copy that names another object."""
    yield f"{block.header} {block.text}"
    yield block.text
    for text in (block.text, unnamed(block.text, docstring)):
        yield from (sentence for sentence in sentences(text) if len(sentence.split()) >= MIN_SHARED_WORDS)


def unnamed(text: str, docstring: Docstring) -> str:
    """The text of a docstring without the names of the documented object and without dotted paths."""
    _, *own = docstring.name.split(".")
    rest = _PATH.sub("", text)
    if not any(name in rest for name in own):  # half of all texts: a pattern is compiled for the others only
        return rest
    return re.sub(rf"(?<!\w)(?:{'|'.join(map(re.escape, own))})(?!\w)", "", rest)


def without(block: Block, banned: BannedTexts) -> Block | None:
    """The block without the sentences that hold banned text; None if nothing remains or the rest is still banned."""
    text = " ".join(sentence for sentence in sentences(block.text) if not banned.found_in(sentence))
    lost_all = block.text and not text
    return None if lost_all or banned.found_in(f"{block.header} {text}") else replace(block, text=text)


def _passages(parts: Iterable[Block]) -> Iterator[str]:
    """Join neighbouring blocks of one object into passages, whose lengths PASSAGE_WORDS bounds."""
    shortest, longest = PASSAGE_WORDS
    words: list[str] = []
    section = ""
    for block in parts:
        heading = "" if block.section in (section, "summary", "description") else f"{block.section.capitalize()}:"
        if block.section != section and len(words) >= shortest:
            yield " ".join(words)
            words = []
        section = block.section
        for sentence in sentences(" ".join(filter(None, (heading, block.header, block.text)))):
            split = sentence.split()
            for new in (split[start : start + longest] for start in range(0, len(split), longest)):
                if len(words) + len(new) > longest:
                    yield " ".join(words)
                    words = []
                words += new
    if words:
        yield " ".join(words)
