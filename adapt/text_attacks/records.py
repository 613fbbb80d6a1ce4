"""One record an example and recipe: kept as soon as it is there, and the rates that follow from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from adapt.table.measurement import measurement
from adapt.text_attacks.search import CRASHED, FAILED, SKIPPED, SUCCESS

KEY_NAME = "text_attacks.records"
VERSION = 1

_TYPES = {"int": pyarrow.int64(), "str": pyarrow.string(), "float": pyarrow.float64()}


@dataclass(frozen=True)
class Record:
    """What became of one example under one recipe; the scores are probabilities of the true class.

    words: how many the classifier sees; changed: how many of them differ in ``text``. seconds: not in the file of
    results, which is the same for every run.
    """

    recipe: str
    example: int
    label: int
    status: str
    queries: int
    words: int
    changed: int
    original_text: str
    text: str
    original_score: float | None
    score: float | None
    predicted: int | None
    error: str | None
    seconds: float


class Journal:
    """Finished records of one recipe, a line each: a killed evaluation goes on after the last whole line."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[int, Record]:
        """The records by example; a line that a kill tore is cut off, so that the next one starts afresh."""
        if not self.file.exists():
            return {}
        lines = self.file.read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        if whole != lines:
            with self.file.open("r+b") as stream:
                stream.truncate(sum(map(len, whole)))
        found = [Record(**json.loads(line)) for line in whole]
        return {record.example: record for record in found}

    def append(self, record: Record) -> None:
        """Add a finished example."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(record)) + "\n")


def write_parquet(records: Iterable[Record], file: Path) -> None:
    """Every record but its seconds, in the order given."""
    names = [(field.name, str(field.type).partition(" ")[0]) for field in fields(Record) if field.name != "seconds"]
    schema = pyarrow.schema([(name, _TYPES[kind]) for name, kind in names])
    rows = [asdict(record) for record in records]
    table = pyarrow.Table.from_pylist([{name: row[name] for name, _ in names} for row in rows], schema=schema)
    pyarrow.parquet.write_table(table, file)


def rows(recipe: str, records: list[Record], max_words: float) -> list[dict[str, Any]]:
    """The measurements of one recipe. With s successes, f failures, and examples skipped and crashed:

    attack_success_rate = s / (s + f). accuracy = f / all: a skipped example was wrong before, and a crash is never
    robustness, so accuracy is a lower bound where some crashed. accuracy at epsilon 0 is that of the same examples
    untouched. mean_queries averages over the attacked, mean_words_changed (a share) over the successes. A rate of
    nothing is left out.
    """
    status = Counter(record.status for record in records)
    attacked = [record for record in records if record.status in (SUCCESS, FAILED)]
    won = [record for record in attacked if record.status == SUCCESS]
    right_before = [r for r in records if r.status != SKIPPED and r.original_score is not None]
    everything = len(records)
    found: list[tuple[str, float, float, int]] = [
        ("accuracy", 0.0, len(right_before) / everything, everything),
        ("accuracy", max_words, status[FAILED] / everything, everything),
        ("attacked", max_words, len(attacked), everything),
        ("skipped", max_words, status[SKIPPED], everything),
        ("crashed", max_words, status[CRASHED], everything),
        ("attack_seconds", max_words, sum(record.seconds for record in records), everything),
    ]
    if attacked:
        queries = sum(record.queries for record in attacked) / len(attacked)
        found.append(("attack_success_rate", max_words, len(won) / len(attacked), len(attacked)))
        found.append(("mean_queries", max_words, queries, len(attacked)))
    if won:
        share = sum(record.changed / record.words for record in won) / len(won)
        found.append(("mean_words_changed", max_words, share, len(won)))
    return [
        measurement("test", metric, value, n=n, attack=f"text:{recipe}", epsilon=epsilon)
        for metric, epsilon, value, n in found
    ]
