"""What is said of the texts that a run reads, before anything is trained: how much of them is left, and what is not.

The same numbers are rows (adapt/table/reading.py). A run is refused where too much is unknown to its tokenizer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapt.chain.stage import Stage, ordered
from adapt.config import Config, ConfigError
from adapt.data.splits import DEV, MEASURED, REPORTED, TRAIN
from adapt.store.entries import REPORT, Entry
from adapt.table import reading
from adapt.table.measurement import Measurements, measurement

log = logging.getLogger(__name__)
UNREAD = "unread.json"  # of the reading stage
SETTINGS = {"surplus": "max_documents", "short": "min_words", "near_duplicate": "near_duplicates"}  # of these reasons
_said: set[str] = set()  # by this process: the runs of a sweep share most of their texts


def read_texts(
    cfg: Config, last: Stage, readings: list[Stage], build: Callable[[Stage], Entry]
) -> tuple[Measurements, list[str]]:
    """Build what tells how the run's texts are read; say it, and refuse what cannot be read.

    last: the run's evaluation. readings: stages that only tell how texts are read. build: builds a stage. Returns the
    rows that no stage of the run's chain has, and the places in the store of the stages that they are from. A text that
    a trained model chooses is looked at once there is one: see ``heard``. Raises ConfigError.
    """
    task = last.inputs["task"]
    assert isinstance(task, Stage)
    folder = build(task).folder
    rows, places = examples(cfg, folder), []
    for stage in readings:
        entry = build(stage)
        places.append(f"{stage.kind}/{entry.folder.name}")
        rows += entry.manifest["rows"]
        if stage.kind == "reading":
            of_unread(cfg, report(folder)["places"], json.loads((entry.folder / UNREAD).read_text(encoding="utf-8")))
    for stage in ordered(last):
        if stage.kind in HEARD and not any(earlier.trains for earlier in ordered(stage)):
            build(stage)
    return rows, places


def heard(cfg: Config, stage: Stage, rows: Measurements) -> None:
    """Say what a stage found out about a text. Raises ConfigError where too much of it is unknown."""
    if stage.kind in HEARD:
        HEARD[stage.kind](cfg, stage, rows)


def examples(cfg: Config, folder: Path) -> Measurements:
    """Rows with the number of examples of each split that are used, of those that there are; says what is left out."""
    given = report(folder)["given"]
    rows, left_out = [], []
    for split, number in given.items():
        used = min(number, getattr(cfg.task.max_examples, split) or number)
        rows.append(measurement(split, reading.EXAMPLES, used, n=number))
        if used < number:
            left_out.append(f"{split} {used:,} of {number:,} (task.max_examples.{split})")
    if left_out:
        say(f"task={cfg.task.name}: it uses {', '.join(left_out)} examples")
    return rows


def of_unread(cfg: Config, places: dict[str, list[str]], found: dict[str, dict[str, list[int]]]) -> None:
    """Say where a text of only unknown tokens, or a missing one, stands. Raises ConfigError for one without any token.

    places: where each example of a split was read. found: see adapt/stages/reading.py.
    """
    for split, numbers in found["empty"].items():
        if numbers:
            raise ConfigError(
                f"{places[split][numbers[0]]}: the tokenizer of {model_of(cfg)} makes no token of this text and puts "
                f"none around it, so that there is nothing to read ({len(numbers)} such in {split}); remove it"
            )
    for reason, what in (
        ("unread", f"of which the tokenizer of {model_of(cfg)} knows no token"),
        ("missing", "that says no more than nan, None or null, as programs write a missing one"),
    ):
        for split, numbers in found[reason].items():
            if numbers:
                first = f"the first at {places[split][numbers[0]]}"
                said = f"{len(numbers):,} examples have a text {what}, {first}"
                say(f"task={cfg.task.name}: {split}: {said}", warns=True)


def of_known(cfg: Config, stage: Stage, rows: Measurements) -> None:
    """Say and refuse by the rows about unknown tokens and cut texts; of a task, or of a pretraining text."""
    is_task = stage.kind == "reading"
    what = f"task={cfg.task.name}" if is_task else stage.prefix or stage.label
    for split in reading.splits(rows):
        share = reading.unknown_share(rows, split)
        if share > reading.REFUSE and not cfg.allow_unknown and reading.tokens(rows, split) >= reading.FEW:
            raise ConfigError(too_unknown(cfg, f"{what}: {split}", share))
        if share > reading.WARN:
            say(f"{what}: {split}: {share:.0%} is unknown to the tokenizer of {model_of(cfg)}", warns=True)
        for metric, said in (
            (reading.BYTES, "{:.0%} of the tokens are single bytes, which the tokenizer falls back to"),
            (reading.TRUNCATED, "{:,.0f} of {:,} examples are cut at {} tokens (finetune.max_length)"),
        ):
            row = reading.row_of(rows, split, metric)
            if row is not None and row["value"] > (reading.WARN if metric == reading.BYTES else 0):
                say(f"{what}: {split}: {said.format(row['value'], row['n'], cfg.finetune.max_length)}")


def too_unknown(cfg: Config, what: str, share: float) -> str:
    """The message about a text of which too much is unknown."""
    return (
        f"{what}: {share:.0%} is unknown to the tokenizer of {model_of(cfg)}; more than {reading.REFUSE:.0%} is "
        "refused. Take a model for this script; beside a vocab.txt there must be its tokenizer_config.json, which says "
        "whether it lower-cases; or set allow_unknown=true"
    )


def of_documents(cfg: Config, stage: Stage, rows: Measurements) -> None:
    """Say how many documents of a text are used, and how many are left out, by reason."""
    number = {row["split"]: row["value"] for row in rows if row["metric"] == "documents"}
    key = stage.more.get("key", "")
    dropped = []
    for row in rows:
        reason = row["metric"].removeprefix("dropped_")
        if reason != row["metric"] and row["value"]:
            setting = f" ({key}.{SETTINGS[reason]})" if key and reason in SETTINGS else ""
            dropped.append(f"{row['value']:,.0f} {reason.replace('_', ' ')}{setting}")
    used = f"{number.get(TRAIN, 0):,.0f} to train on, {number.get('heldout', 0):,.0f} held out"
    say(f"{stage.label}: documents: {used}; left out: {', '.join(dropped) or 'none'}")


def of_overlap(cfg: Config, stage: Stage, rows: Measurements) -> None:
    """Warn where most of a split stands in another, so that it cannot do what it is for."""
    harm = {(split, TRAIN): "its scores are of texts that were trained on" for split in MEASURED}
    harm |= {(split, DEV): f"checkpoints and settings are chosen on {split} itself" for split in REPORTED}
    for (split, other), why in harm.items():
        row = reading.row_of(rows, split, reading.contained_in(other))
        if row is not None and row["value"] > reading.MOST * row["n"]:
            say(
                f"task={cfg.task.name}: {row['value']:,.0f} of {row['n']:,} {split} texts stand in {other}: {why}",
                warns=True,
            )


HEARD = {
    "reading": of_known,
    "tokens": of_known,
    "corpus": of_documents,
    "task_text": of_documents,
    "leaks": of_overlap,
}


def report(folder: Path) -> dict[str, Any]:
    """How many examples each split of a task has, and where those that are used stand."""
    return json.loads((folder / REPORT).read_text(encoding="utf-8"))


def model_of(cfg: Config) -> str:
    """The run's model as its user named it."""
    return f"model={cfg.model.name}" + (f" model.path={cfg.model.path}" if cfg.model.path else "")


def say(sentence: str, *, warns: bool = False) -> None:
    """Log a sentence, once in a process."""
    if sentence not in _said:
        _said.add(sentence)
        log.log(*((logging.WARNING, f"warning: {sentence}") if warns else (logging.INFO, sentence)))
