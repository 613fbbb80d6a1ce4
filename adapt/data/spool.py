"""Documents on disk while some of them are chosen: all of a source or, where a number is wanted, few more than that.

A document's place is the hash of its text, and the lowest places are kept. Once as many documents as are wanted have
come by, nothing above the highest of them can be kept, whatever follows, so it is never written: a source that is read
as a stream may be larger than the disk.
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
ROOM = 20_000  # documents that may wait on disk before the first choice among them
DIGEST = 16  # bytes of a place, and of a normalised form


@dataclass(frozen=True)
class Documents:
    """Documents of a file, and what tells two of them apart: ``forms`` [N, 2], digests of the normalised texts."""

    texts: Texts
    places: NDArray[np.uint64]
    """[N, 2], big-endian: digests of the texts."""
    forms: NDArray[np.uint64]

    def chosen(
        self,
        limit: int | None,
        fault: Callable[[int], str | None],
        later: Callable[[int], str | None] = lambda row: None,
    ) -> tuple[list[int], dict[int, str]]:
        """The rows of the lowest places, ``limit`` of them, without repetitions and without those that have a fault.

        fault: why a row may not be kept whatever the others are, or None; later: why it may not be kept beside those of
        lower places, asked in the order of the places and of no repetition. Also returns the rows that were left out
        before the limit was reached, each with the reason; each repetition of a row with a fault has that fault.
        """
        order = np.lexsort((self.places[:, 1], self.places[:, 0]))
        kept: list[int] = []
        dropped: dict[int, str] = {}
        for row, new in zip(order.tolist(), first_of_each(self.forms[order]).tolist(), strict=True):
            if len(kept) == limit:
                break
            reason = fault(row) or (later(row) if new else "duplicate")
            if reason is None:
                kept.append(row)
            else:
                dropped[row] = reason
        return kept, dropped


class Spool:
    """Takes documents one by one; ``close`` gives those among which to choose.

    limit: how many will be kept, which bounds what is on disk at a time to ROOM or three times as many; None keeps all.
    fault: why a text may not be kept, or None; it must not depend on other texts.
    """

    def __init__(self, limit: int | None, fault: Callable[[str], str | None]) -> None:
        self.limit, self.fault = limit, fault
        self._dropped: Counter[tuple[bytes, str]] = Counter()  # on the way, by place and reason
        self._highest: bytes | None = None
        self._scratch = TemporaryDirectory(prefix="adapt-corpus-")
        self._files = 0
        self._begin()

    def add(self, text: str) -> None:
        """Take a document, unless enough others of lower places have come by."""
        place = digest(text)[:DIGEST]
        if self._highest is not None and place > self._highest:
            return
        self._write(text, place, digest(normalise(text))[:DIGEST])
        if self.limit is not None and len(self._places) >= DIGEST * max(2 * self.limit, ROOM):
            self._choose()

    def close(self) -> Documents:
        """What was taken, in the order that it came in; its file goes when its texts do."""
        self._writer.__exit__(None, None, None)
        return self._documents()

    def dropped(self, found: Documents, kept: list[int], left_out: dict[int, str]) -> Counter[str]:
        """How many documents of lower places than the last one kept were left out, by reason, on the way and at last.

        found, kept, left_out: the last choice. Of a choice without a limit all that were left out count.
        """
        counts = Counter(left_out.values())
        last = found.places[kept[-1]].tobytes() if kept and len(kept) == self.limit else None
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
        """Write anew those that may be kept, and remember the highest place once there are enough."""
        found, old, places, forms = self.close(), self._file, self._places, self._forms
        kept, dropped = found.chosen(self.limit, lambda row: self.fault(found.texts[row]))
        for row, reason in dropped.items():
            self._dropped[found.places[row].tobytes(), reason] += 1
        self._begin()
        for row in kept:
            at = slice(DIGEST * row, DIGEST * (row + 1))
            self._write(found.texts[row], bytes(places[at]), bytes(forms[at]))
        if len(kept) == self.limit:
            last = self._highest = bytes(self._places[-DIGEST:])
            self._dropped = Counter({at: number for at, number in self._dropped.items() if at[0] < last})
        old.unlink()


def first_of_each(forms: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each row [N, 2] is the first of those that are equal to it."""
    together = np.lexsort((forms[:, 1], forms[:, 0]))  # stable: equal rows stay in their order
    first = np.ones(len(forms), dtype=bool)
    repeated = (forms[together[1:]] == forms[together[:-1]]).all(axis=1)
    first[together[1:][repeated]] = False
    return first
