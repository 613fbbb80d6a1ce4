"""The data stages: a task, a corpus, and the text of a task as a corpus. Later stages know them by content hash."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from adapt.config import CorpusConfig, RuntimeConfig, TaskConfig
from adapt.data import corpora, files, tasks
from adapt.data import task_text as of_task
from adapt.table.measurement import measurement

log = logging.getLogger(__name__)
KEY_NAME = "stages.data"
VERSION = 2


def task(cfg: TaskConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Read a task from its files or packages and write its splits.

    Rows: ``dropped_no_label`` of each split if the task says how examples without a label are marked, and
    ``lost_classes`` of train, the classes of the whole split of which the budget left no example.
    """
    read = tasks.read_task(cfg)
    tasks.write_task(read, out)
    rows = [measurement(split, "dropped_no_label", count) for split, count in read.no_label.items()]
    if read.lost:
        log.warning(
            "task=%s: max_examples leaves no training example of %s; no model learns it",
            cfg.name, ", ".join(read.lost),
        )  # fmt: skip
        rows.append(measurement("train", "lost_classes", len(read.lost), n=len(read.splits["train"])))
    return rows


def corpus(
    cfg: CorpusConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, key: str
) -> list[dict[str, Any]]:
    """Read a corpus, without the dev and test texts of the tasks in ``inputs``. key: the config key for its errors."""
    excluded = map(tasks.load_task, inputs.values())
    banned = [text for task in excluded for text in of_task.texts_of(task, *task.measured)]
    return written(corpora.read_corpus(cfg, banned, key, progress=runtime.progress), out)


def task_text(
    cfg: TaskConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, pool: bool
) -> list[dict[str, Any]]:
    """The training texts of the whole task ``inputs["task"]`` as a corpus, its dev texts held out; see data/task_text.

    It has at most ``cfg.max_examples.train`` examples. pool: it has all of them, and the texts of ``cfg.unlabelled``.
    inputs["banned"] is optional: a whole task whose dev and test texts no text may contain.
    """
    unlabelled = files.find_files("task.unlabelled", cfg.unlabelled) if pool and cfg.unlabelled else []
    text = of_task.task_text(
        tasks.load_task(inputs["task"]),
        (files.text_column(row, cfg.text_column, "task.text_column") for f in unlabelled for row in files.read_rows(f)),
        examples=None if pool else cfg.max_examples.train,
        markers=cfg.entity_markers,
        banned=tasks.load_task(inputs["banned"]) if "banned" in inputs else None,
        name=cfg.name,
    )
    return written(text, out)


def written(text: corpora.Corpus, out: Path) -> list[dict[str, Any]]:
    """Write a corpus. Rows: how many documents train, how many are held out, and how many were left out, by reason."""
    corpora.write_corpus(text, out)
    names = {"banned": "dropped_leaks"}
    rows = [measurement(part, "documents", len(getattr(text, part))) for part in ("train", "heldout")]
    dropped = text.dropped.items()
    return rows + [measurement("train", names.get(reason, f"dropped_{reason}"), count) for reason, count in dropped]
