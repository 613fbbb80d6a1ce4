"""Documents on disk while some of them are chosen: all of a source or, with a limit, not many more than the limit.

A document's place is the hash of its text, and the documents with the lowest places are chosen. Once the limit is
reached, no document above the highest place so far can be chosen, whatever follows, so it is never written. A source
that is read as a stream may therefore be larger than the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from adapt.data.arrow import Texts, TextWriter
from adapt.data.text import digest, normalise

KEY_NAME = "data.spool"
VERSION = 1
ROOM = 20_000  # documents that may be on disk before the first choice among them, or 2 * limit if that is more
DIGEST = 16  # bytes of a place, and of a normalised form


@dataclass(frozen=True)
class Documents:
    """The documents of a file, with the digests by which they are ordered and told apart."""

    texts: Texts
    places: NDArray[np.uint64]
    """[N, 2], big-endian: digests of the texts."""
    forms: NDArray[np.uint64]
    """[N, 2]: digests of the normalised texts; equal for duplicates."""

    def chosen(
        self,
        limit: int | None,
        fault: Callable[[int], str | None],
        later: Callable[[int], str | None] = lambda row: None,
    ) -> tuple[list[int], dict[int, str]]:
        """The ``limit`` rows of the lowest places, without duplicates and without rows that have a fault.

        fault: why a row must be left out, whatever the other rows are, or None. later: why it must be left out beside
        the rows of lower places, or None; called in the order of places, and never for a duplicate. Also returns the
        rows that were left out before the limit was reached, each with its reason. Duplicates of a row with a fault
        are left out for that fault.
        """
        order = np.lexsort((self.places[:, 1], self.places[:, 0]))
        taken: list[int] = []
        dropped: dict[int, str] = {}
        for row, new in zip(order.tolist(), first_of_each(self.forms[order]).tolist(), strict=True):
            if len(taken) == limit:
                break
            reason = fault(row) or (later(row) if new else "duplicate")
            if reason is None:
                taken.append(row)
            else:
                dropped[row] = reason
        return taken, dropped


class Spool:
    """Takes documents one by one; ``close`` returns those that can still be chosen.

    limit: how many will be chosen, which bounds the documents on disk to ROOM or three times the limit; None keeps all.
    fault: why a text must be left out, or None; it must not depend on other texts.
    """

    def __init__(self, limit: int | None, fault: Callable[[str], str | None]) -> None:
        self.limit, self.fault = limit, fault
        self._dropped: Counter[tuple[bytes, str]] = Counter()  # in earlier choices, by place and reason
        self._highest: bytes | None = None
        self._scratch = TemporaryDirectory(prefix="adapt-corpus-")
        self._files = 0
        self._begin()

    def add(self, text: str) -> None:
        """Take a document, unless enough documents of lower places were taken already."""
        place = digest(text)[:DIGEST]
        if self._highest is not None and place > self._highest:
            return
        self._write(text, place, digest(normalise(text))[:DIGEST])
        if self.limit is not None and len(self._places) >= DIGEST * max(2 * self.limit, ROOM):
            self._choose()

    def close(self) -> Documents:
        """The documents that were taken, in the order in which they came; their file is removed with the texts."""
        self._writer.__exit__(None, None, None)
        return self._documents()

    def dropped(self, documents: Documents, taken: list[int], left_out: dict[int, str]) -> Counter[str]:
        """How many documents were left out by this spool's own choices and by the final one, by reason.

        documents, taken, left_out: the final choice. Only documents of lower places than the last one taken count;
        where the limit was not reached, all of them do.
        """
        counts = Counter(left_out.values())
        last = documents.places[taken[-1]].tobytes() if taken and len(taken) == self.limit else None
        for (place, reason), number in self._dropped.items():
            counts[reason] += number if last is None or place < last else 0
        return counts

    def _begin(self) -> None:
        self._file = Path(self._scratch.name) / f"texts-{self._files}.arrow"
        self._files += 1
        self._places, self._forms = bytearray(), bytearray()
        self._writer = TextWriter(self._file)

    def _write(self, text: str, place: bytes, form: bytes) -> None:
        self._writer.add(text)
        self._places += place
        self._forms += form

    def _documents(self) -> Documents:
        places, forms = (np.frombuffer(bytes(of), ">u8").reshape(-1, 2) for of in (self._places, self._forms))
        return Documents(Texts(self._file, scratch=self._scratch), places, forms)

    def _choose(self) -> None:
        """Rewrite the file with only the documents chosen so far; note the highest place if the limit is reached."""
        documents, old, places, forms = self.close(), self._file, self._places, self._forms
        taken, dropped = documents.chosen(self.limit, lambda row: self.fault(documents.texts[row]))
        for row, reason in dropped.items():
            self._dropped[documents.places[row].tobytes(), reason] += 1
        self._begin()
        for row in taken:
            at = slice(DIGEST * row, DIGEST * (row + 1))
            self._write(documents.texts[row], bytes(places[at]), bytes(forms[at]))
        if len(taken) == self.limit:
            last = self._highest = bytes(self._places[-DIGEST:])
            self._dropped = Counter({at: number for at, number in self._dropped.items() if at[0] < last})
        old.unlink()


def first_of_each(forms: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """For each row of ``forms`` [N, 2], whether no earlier row is equal to it: [N]."""
    together = np.lexsort((forms[:, 1], forms[:, 0]))  # stable: equal rows stay in order
    first = np.ones(len(forms), dtype=bool)
    repeated = (forms[together[1:]] == forms[together[:-1]]).all(axis=1)
    first[together[1:][repeated]] = False
    return first
