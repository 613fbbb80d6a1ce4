"""What makes two texts the same, and an order of texts that depends on nothing but their letters."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

KEY_NAME = "data.text"
VERSION = 1

Item = TypeVar("Item")

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z0-9])")


def normalise(text: str) -> str:
    """Lower case, letters and digits only, one space between words: texts equal in this form count as the same."""
    return _NOT_ALPHANUMERIC.sub(" ", text.lower()).strip()


def sentences(text: str) -> list[str]:
    """The parts of a one-line text between full stops (or ``! ? : ;``) that a capital letter or a digit follows."""
    return _SENTENCE_END.split(text)


def hash_share(text: str, salt: str = "") -> float:
    """A number in [0, 1), uniform over texts and fixed for each; different salts give independent numbers."""
    return (int.from_bytes(digest(salt + text)[:8], "big") >> 11) / 2**53  # a float holds 53 bits


def in_hash_order(items: Iterable[Item], text: Callable[[Item], str]) -> list[Item]:
    """Items by the hash of their text: a shuffle that does not depend on the order given."""
    return sorted(items, key=lambda item: digest(text(item)))


def distinct(items: Iterable[Item], text: Callable[[Item], str]) -> Iterator[Item]:
    """The first item of each normalised text."""
    seen: set[bytes] = set()  # of digests: a large corpus would fill the memory twice
    for item in items:
        form = digest(normalise(text(item)))
        if form not in seen:
            seen.add(form)
            yield item


def digest(text: str) -> bytes:
    """SHA-256 of a text, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()
