"""The leak report: its tables as Markdown and CSV, its hits as JSON lines."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapt.data import tasks
from adapt.data.leaks.comparison import Comparison, hit_row, labelled
from adapt.data.leaks.overlap import LEVELS, Hit, LevelCount
from adapt.data.splits import TRAIN
from adapt.data.text import normalise

TABLE, HITS, PAGE = "leakage.csv", "hits.jsonl", "leakage.md"
SHOWN = 300  # characters of a text that the page shows; hits.jsonl has the whole text


def page(
    title: str, task: tasks.Task, comparisons: list[Comparison], *, words: int, threshold: float, examples: int
) -> str:
    """The report in Markdown; ``examples``: how many hits it shows for each comparison and level."""
    with_corpus = any(comparison.source == "corpus" for comparison in comparisons)
    lines = [
        f"# {title}",
        "",
        f"Contained: at least {100 * threshold:g}% of a text's {words}-grams of words stand in the source "
        f"(in scripts without spaces: as many characters as are worth {words} words). "
        "Each level includes the ones above it. Distinct texts differ in letters or digits; a hit's label is that of "
        "all texts that match it (same), of none of them (other), or of some (both).",
        "",
        *table(split_rows(task)),
        "",
        *table([row(comparison, counted) for comparison in comparisons for counted in comparison.counts]),
        "",
        "What remains of dev and test without the hits:",
        "",
        *table(clean_rows(comparisons, with_corpus)),
    ]
    for comparison in comparisons:
        for level in LEVELS:
            chosen = [hit for hit in comparison.hits if hit.level == level][:examples]
            lines += ["", f"## {comparison.target} in {comparison.source}, {level}", ""] if chosen else []
            lines += [line for hit in chosen for line in example(comparison, hit)]
    return "\n".join(lines) + "\n"


def split_rows(task: tasks.Task) -> list[dict[str, Any]]:
    """One row per split: its duplicates, and how many of its distinct texts have more than one label."""
    rows = []
    for split in task.splits:
        texts = labelled(task, split)
        names: dict[str, set[str | None]] = {}
        for text, label in texts:
            names.setdefault(normalise(text) or text, set()).add(label)
        several = sum(len(labels) > 1 for labels in names.values())
        counts = {"texts": len(texts), "different_strings": len({text for text, _ in texts}), "distinct": len(names)}
        rows.append({"split": split, **counts, "distinct_with_several_labels": several})
    return rows


def row(comparison: Comparison, counted: LevelCount) -> dict[str, Any]:
    """A row of the report's table, and of its CSV file."""
    names = {"source": comparison.source, "source_texts": comparison.source_texts, "target": comparison.target}
    numbers = asdict(counted)
    level = {"level": numbers.pop("level")}
    hit_share = {"hit_share": round(counted.hits / counted.texts, 4)}
    sizes = {name: numbers.pop(name) for name in ("texts", "distinct", "hits")}
    return {**names, **level, **sizes, **hit_share, **numbers}


def clean_rows(comparisons: list[Comparison], with_corpus: bool) -> list[dict[str, Any]]:
    """How many dev and test texts do not occur in train, and in neither train nor corpus, at each level."""
    rows: list[dict[str, Any]] = []
    targets = dict.fromkeys(comparison.target for comparison in comparisons if comparison.source == TRAIN)
    for target in targets:
        mine = {comparison.source: comparison for comparison in comparisons if comparison.target == target}
        for level in LEVELS:
            hit = {source: {hit.number for hit in one.hits if hit.at(level)} for source, one in mine.items()}
            texts = len(mine[TRAIN].texts)
            counts = {"texts": texts, "clean_of_train": texts - len(hit[TRAIN])}
            if with_corpus:
                counts["clean_of_train_and_corpus"] = texts - len(hit[TRAIN] | hit["corpus"])
            rows.append({"target": target, "level": level, **counts})
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows with the same keys as a Markdown table; None becomes an empty cell."""
    cells = [[key.replace("_", " ") for key in rows[0]], ["---"] * len(rows[0])]
    cells += [["" if value is None else str(value) for value in line.values()] for line in rows]
    return [f"| {' | '.join(line)} |" for line in cells]


def example(comparison: Comparison, hit: Hit) -> list[str]:
    """A hit and its first match, as a list item."""
    text, label = comparison.texts[hit.number]
    source = "no single text holds enough of it"
    if hit.first is not None:
        labels = f" [{', '.join(sorted(hit.first.labels))}]" if hit.first.labels else ""
        source = f"{comparison.source} {hit.first.number}{labels}: {shown(hit.first.passage)}"
    return [f"- {comparison.target} {hit.number} [{label}], {hit.share:.0%}: {shown(text)}", f"  - {source}"]


def shown(text: str) -> str:
    """A text on one line, as code, cut to SHOWN characters."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line if len(line) <= SHOWN else line[:SHOWN] + ' ...'}`"


def write_report(folder: Path, comparisons: list[Comparison], text: str) -> None:
    """Write the table as CSV, every hit as a line of JSON, and the page."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row(comparison, counted) for comparison in comparisons for counted in comparison.counts]
    with open(folder / TABLE, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with open(folder / HITS, "w", encoding="utf-8") as stream:
        for comparison in comparisons:
            for hit in comparison.hits:
                stream.write(json.dumps(hit_row(comparison, hit), ensure_ascii=False) + "\n")
    (folder / PAGE).write_text(text, encoding="utf-8")
