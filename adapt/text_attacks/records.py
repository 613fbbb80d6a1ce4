"""One record per example and recipe, written as soon as it is finished; and the rates that follow from them."""

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
VERSION = 2

_TYPES = {"int": pyarrow.int64(), "str": pyarrow.string(), "float": pyarrow.float64()}


@dataclass(frozen=True)
class Record:
    """The result for one example under one recipe; the scores are probabilities of the true class.

    words: how many words the classifier sees; changed: how many of them differ in ``text``; tried: how many texts with
    another word were classified. seconds: not written to
    the file of results, so that it is the same for every run.
    """

    recipe: str
    example: int
    label: int
    status: str
    queries: int
    words: int
    changed: int
    tried: int
    original_text: str
    text: str
    original_score: float | None
    score: float | None
    predicted: int | None
    error: str | None
    seconds: float


class Journal:
    """The finished records of one recipe, one per line; a killed evaluation continues after the last complete line."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[int, Record]:
        """The records by example; removes an incomplete last line, so that the next record starts on a new line."""
        if not self.file.exists():
            return {}
        lines = self.file.read_bytes().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        if whole != lines:
            with self.file.open("r+b") as stream:
                stream.truncate(sum(map(len, whole)))
        records = [Record(**json.loads(line)) for line in whole]
        return {record.example: record for record in records}

    def append(self, record: Record) -> None:
        """Add the record of a finished example."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(record)) + "\n")


def write_parquet(records: Iterable[Record], file: Path) -> None:
    """Write the records in the order given, without their seconds."""
    names = [(field.name, str(field.type).partition(" ")[0]) for field in fields(Record) if field.name != "seconds"]
    schema = pyarrow.schema([(name, _TYPES[kind]) for name, kind in names])
    rows = [asdict(record) for record in records]
    table = pyarrow.Table.from_pylist([{name: row[name] for name, _ in names} for row in rows], schema=schema)
    pyarrow.parquet.write_table(table, file)


def rows(recipe: str, records: list[Record], max_words: float) -> list[dict[str, Any]]:
    """The measurements of one recipe, with s successes, f failures, and the skipped and crashed examples.

    attack_success_rate = s / (s + f). accuracy = f / all: a skipped example was wrong before, and a crash never counts
    as robust, so accuracy is a lower bound if some crashed. accuracy at epsilon 0 is that of the same examples without
    an attack. untried counts the attacked examples for which no text with another word was classified, because no word
    has a candidate or the queries did not last for one: they count as robust. mean_queries averages over the s + f
    attacked examples, mean_words_changed (a share) over the successes. A rate over no examples is left out.
    """
    status = Counter(record.status for record in records)
    attacked = [record for record in records if record.status in (SUCCESS, FAILED)]
    won = [record for record in attacked if record.status == SUCCESS]
    right_before = [r for r in records if r.status != SKIPPED and r.original_score is not None]
    everything = len(records)
    measured: list[tuple[str, float, float, int]] = [
        ("accuracy", 0.0, len(right_before) / everything, everything),
        ("accuracy", max_words, status[FAILED] / everything, everything),
        ("attacked", max_words, len(attacked), everything),
        ("skipped", max_words, status[SKIPPED], everything),
        ("crashed", max_words, status[CRASHED], everything),
        ("attack_seconds", max_words, sum(record.seconds for record in records), everything),
    ]
    if attacked:
        untried = sum(not record.tried for record in attacked)
        measured.append(("untried", max_words, untried, len(attacked)))
        queries = sum(record.queries for record in attacked) / len(attacked)
        measured.append(("attack_success_rate", max_words, len(won) / len(attacked), len(attacked)))
        measured.append(("mean_queries", max_words, queries, len(attacked)))
    if won:
        share = sum(record.changed / record.words for record in won) / len(won)
        measured.append(("mean_words_changed", max_words, share, len(won)))
    return [
        measurement("test", metric, value, n=n, attack=f"text:{recipe}", epsilon=epsilon)
        for metric, epsilon, value, n in measured
    ]
