"""How the run's model reads its task: the share of unknown tokens and the number of cut examples of each split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapt.config import RuntimeConfig
from adapt.data import tasks
from adapt.data.tokens.reading import read
from adapt.data.tokens.unknown import Gauge
from adapt.models import loading
from adapt.table.reading import rows

KEY_NAME = "stages.reading"
VERSION = 1
UNREAD = "unread.json"
MISSING = frozenset(
    ["nan", "none", "null", "na", "n/a", "<na>", "nat", "undefined"]
)  # as pandas, R, SQL and others write it


def reading(
    argument: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, max_length: int
) -> list[dict[str, Any]]:
    """Tokenise the task of ``inputs["task"]`` with ``inputs["tokenizer"]``, cut at max_length; returns the rows.

    Writes unread.json: under ``unread``, for each split, the ids of the examples that have a text without a known
    token; under ``empty``, of those without any token; under ``missing``, of those with a text that is a program's word
    for a missing one.
    """
    task = tasks.load_task(inputs["task"])
    tokenizer = loading.load_tokenizer(inputs["tokenizer"])
    gauge = Gauge(tokenizer)
    measured: list[dict[str, Any]] = []
    found: dict[str, dict[str, list[int]]] = {"unread": {}, "empty": {}, "missing": {}}
    for split, examples in task.splits.items():
        one = read(tokenizer, [example.texts for example in examples], max_length, gauge)
        found["unread"][split], found["empty"][split] = one.unread, one.empty
        found["missing"][split] = [example.id for example in examples if is_missing(example.texts)]
        measured += rows(
            split,
            one.known,
            examples=one.examples,
            truncated=one.truncated,
            has_bytes=gauge.has_bytes,
            by_characters=gauge.by_characters,
        )
    (out / UNREAD).write_text(json.dumps(found) + "\n", encoding="utf-8")
    return measured


def is_missing(texts: Sequence[str]) -> bool:
    """Whether one of an example's texts is nothing but such a word."""
    return any(text.strip().lower() in MISSING for text in texts)
