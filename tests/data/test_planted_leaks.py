"""Test texts are planted in several ways in the training split or in a corpus: the leak report finds exactly these."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from world import WORDS, sentence, write_jsonl

from adapt import leakage

EACH = 7
WAYS = {
    "verbatim": lambda text: text,
    "recased": lambda text: f"{text.title().replace(' ', ', ')}!",
    "within": lambda text: f"{sentence('metal', 7000)}. {text.upper()} {sentence('metal', 7001)}",
}
LEVEL = {"verbatim": "exact", "recased": "normalised", "within": "contained"}  # the strictest level that holds
TEST = [sentence("animal", number) for number in range(200, 200 + EACH * (len(WAYS) + 1))]  # the last EACH: not planted


def reported(folder: Path, train: list[str], corpus: list[str]) -> dict[str, dict[str, str]]:
    """For each source, the test texts that the report found there, with their levels."""
    clean = {label: [sentence(label, number) for number in range(50)] for label in WORDS}
    rows = [{"text": text, "label": label} for label, texts in clean.items() for text in texts]
    write_jsonl(folder / "task" / "train.jsonl", rows + [{"text": text, "label": "animal"} for text in train])
    write_jsonl(folder / "task" / "dev.jsonl", [{"text": sentence(label, 100), "label": label} for label in WORDS])
    write_jsonl(folder / "task" / "test.jsonl", [{"text": text, "label": "animal"} for text in TEST])
    documents = [sentence("metal", number) for number in range(1000, 1100)]
    write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in documents + corpus])
    words = ["task=jsonl", f"task.path={folder / 'task'}", "corpus=files", f"corpus.path={folder / 'corpus.jsonl'}"]
    leakage.main([*words, "runtime.progress=false", "--report", str(folder / "report")])
    hits = [json.loads(line) for line in (folder / "report" / "hits.jsonl").read_text().splitlines()]
    levels: dict[str, dict[str, str]] = {"train": {}, "corpus": {}, "dev": {}}
    for hit in hits:
        levels[hit["source"]][hit["text"]] = hit["level"]
    return levels


@pytest.mark.parametrize("where", ["train", "corpus"])
def test_all_that_was_planted_is_found_and_nothing_else(where: str, tmp_path: Path) -> None:
    of = {way: TEST[i * EACH : (i + 1) * EACH] for i, way in enumerate(WAYS)}
    plants = [WAYS[way](text) for way, texts in of.items() for text in texts]
    levels = reported(tmp_path, **{"train": [], "corpus": [], where: plants})
    assert levels.pop(where) == {text: LEVEL[way] for way, texts in of.items() for text in texts}
    assert list(levels.values()) == [{}, {}]


def test_nothing_is_found_where_nothing_was_planted(tmp_path: Path) -> None:
    assert reported(tmp_path, [], []) == {"train": {}, "corpus": {}, "dev": {}}
