"""Compares a task's examples with the texts that were trained on: which of them occur there, and at which level."""

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
    """The texts of a split with the names of their labels; the two texts of a pair are joined as two lines."""
    return [("\n".join(example.texts), task.answer(example)) for example in task.splits[split]]


def compare(
    source: str,
    stream: Iterable[Labelled],
    targets: dict[str, list[Labelled]],
    words: int = WORDS,
    threshold: float = THRESHOLD,
) -> list[Comparison]:
    """Compare all targets with the source in one pass over it."""
    search = OverlapSearch([text for texts in targets.values() for text, _ in texts], words, threshold)
    has_labels = False
    for text, label in stream:
        search.add(text, label)
        has_labels |= label is not None
    hits, start, comparisons = search.hits(), 0, []
    for target, texts in targets.items():
        end = start + len(texts)
        mine = [replace(hit, number=hit.number - start) for hit in hits if start <= hit.number < end]
        labels = [str(label) for _, label in texts] if has_labels else None
        counts = [count([text for text, _ in texts], labels, mine, level) for level in LEVELS]
        comparisons.append(Comparison(source, search.added, target, texts, mine, counts))
        start = end
    return comparisons


def hit_row(comparison: Comparison, hit: Hit) -> dict[str, Any]:
    """A hit as a row: ``number`` is the example's id, ``source_number`` that of its first match in the source."""
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
