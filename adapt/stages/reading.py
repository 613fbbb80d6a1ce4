"""How the run's model reads its task: the share of unknown tokens and the number of cut examples of each split."""

from __future__ import annotations

import json
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


def reading(
    argument: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, max_length: int
) -> list[dict[str, Any]]:
    """Tokenise the task of ``inputs["task"]`` with ``inputs["tokenizer"]``, cut at max_length; returns the rows.

    Writes unread.json: under ``unread``, for each split, the ids of the examples that have a text without a known
    token; under ``empty``, of those without any token.
    """
    task = tasks.load_task(inputs["task"])
    tokenizer = loading.load_tokenizer(inputs["tokenizer"])
    gauge = Gauge(tokenizer)
    measured: list[dict[str, Any]] = []
    found: dict[str, dict[str, list[int]]] = {"unread": {}, "empty": {}}
    for split, examples in task.splits.items():
        one = read(tokenizer, [example.texts for example in examples], max_length, gauge)
        found["unread"][split], found["empty"][split] = one.unread, one.empty
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
