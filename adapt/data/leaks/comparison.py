"""Examples of a task compared with the texts that were trained on: which were found, and at which level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapt.data.containment import THRESHOLD, WORDS
from adapt.data.leaks.overlap import LEVELS, Hit, LevelCount, OverlapSearch, count
from adapt.data.tasks import Task

KEY_NAME = "data.leaks.comparison"
VERSION = 1

Labelled = tuple[str, str | None]


@dataclass(frozen=True)
class Comparison:
    """The hits of one split's texts (``target``) in one stream of texts (``source``), and their counts by level."""

    source: str
    source_texts: int
    target: str
    texts: Sequence[Labelled]
    hits: list[Hit]
    counts: list[LevelCount]


def labelled(task: Task, split: str) -> list[Labelled]:
    """The texts of a split, the two of a pair as two lines of one, with the names of their labels."""
    return [("\n".join(example.texts), task.answer(example)) for example in task.splits[split]]


def compare(
    source: str,
    stream: Iterable[Labelled],
    targets: dict[str, list[Labelled]],
    words: int = WORDS,
    threshold: float = THRESHOLD,
) -> list[Comparison]:
    """All targets against one pass over the source."""
    search = OverlapSearch([text for texts in targets.values() for text, _ in texts], words, threshold)
    has_labels = False
    for text, label in stream:
        search.add(text, label)
        has_labels |= label is not None
    hits, start, found = search.hits(), 0, []
    for target, texts in targets.items():
        end = start + len(texts)
        mine = [replace(hit, number=hit.number - start) for hit in hits if start <= hit.number < end]
        labels = [str(label) for _, label in texts] if has_labels else None
        counts = [count([text for text, _ in texts], labels, mine, level) for level in LEVELS]
        found.append(Comparison(source, search.added, target, texts, mine, counts))
        start = end
    return found


def hit_row(comparison: Comparison, hit: Hit) -> dict[str, Any]:
    """A hit; ``number`` is the example's id, ``source_number`` the place of the first match in train, dev or corpus."""
    text, label = comparison.texts[hit.number]
    mine = {"target": comparison.target, "number": hit.number, "level": hit.level, "share": round(hit.share, 4)}
    match = hit.first
    theirs = {
        "source": comparison.source,
        "source_number": match and match.number,
        "source_labels": match and sorted(match.labels),
        "passage": match and match.passage,
    }
    return {**mine, "label": label, "text": text, **theirs}
