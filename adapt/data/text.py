"""When two texts count as the same, and an order of texts that depends only on the texts themselves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from adapt.data import characters

KEY_NAME = "data.text"
VERSION = 2

Item = TypeVar("Item")

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z0-9])")


def normalise(text: str) -> str:
    """Letters, marks and digits of the text as it is compared, with single spaces; equal forms are the same text.

    What is equal as it is compared: ``adapt.data.characters.comparable``. Beside a character of a script without spaces
    no space is left, because there it says nothing.
    """
    if characters.is_plain(text):
        return _NOT_ALPHANUMERIC.sub(" ", text.lower()).strip()
    return characters.normalised(characters.comparable(text))


def sentences(text: str) -> list[str]:
    """Split a one-line text after each full stop (or ``! ? : ;``) that is followed by a capital letter or a digit."""
    return _SENTENCE_END.split(text)


def hash_share(text: str, salt: str = "") -> float:
    """A number in [0, 1), uniform over texts and always the same for one text; different salts are independent."""
    return (int.from_bytes(digest(salt + text)[:8], "big") >> 11) / 2**53  # a float holds 53 bits


def in_hash_order(items: Iterable[Item], text: Callable[[Item], str]) -> list[Item]:
    """Items sorted by the hash of their text: a shuffle that does not depend on the order given."""
    return sorted(items, key=lambda item: digest(text(item)))


def distinct(items: Iterable[Item], text: Callable[[Item], str]) -> Iterator[Item]:
    """The first item of each normalised text."""
    seen: set[bytes] = set()  # digests, because the texts of a large corpus would take its size in memory again
    for item in items:
        form = digest(normalise(text(item)))
        if form not in seen:
            seen.add(form)
            yield item


def digest(text: str) -> bytes:
    """SHA-256 of a text, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()
