"""Finding texts that must not be seen in training inside other texts."""

from __future__ import annotations

from collections.abc import Iterable

from adapt.data.text import normalise

VERSION = 1


class BannedTexts:
    """Texts whose copies are found in linear time, in normalised form (letters and digits, lower case).

    A text of at least ``shingle`` words is found anywhere inside another; a shorter one ("Yes.") only as a whole, since
    it stands in documents that know nothing of it. The texts are indexed by their first ``shingle`` words.
    """

    def __init__(self, texts: Iterable[str], shingle: int = 8) -> None:
        self.shingle = shingle
        self._whole: set[str] = set()
        self._by_start: dict[tuple[str, ...], set[str]] = {}
        for text in texts:
            form = normalise(text)
            words = form.split()
            if len(words) >= shingle:
                self._by_start.setdefault(tuple(words[:shingle]), set()).add(form)
            if form:
                self._whole.add(form)

    def __len__(self) -> int:
        return len(self._whole)

    def found_in(self, text: str) -> bool:
        """Whether the text is one of the banned texts, or contains one."""
        form = normalise(text)
        if form in self._whole:
            return True
        words = form.split()
        for start in range(len(words) - self.shingle + 1):
            for banned in self._by_start.get(tuple(words[start : start + self.shingle]), ()):
                size = banned.count(" ") + 1
                if " ".join(words[start : start + size]) == banned:
                    return True
        return False
