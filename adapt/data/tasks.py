"""Tasks: read from files or packages, checked, and written as a folder of splits. The kind defines the examples."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, TaskConfig
from adapt.data.files import nearby, read_rows
from adapt.data.kinds import classification, tagging
from adapt.data.kinds.kind import TaskKind
from adapt.data.pydoc import corpus
from adapt.data.splits import SPLITS, TRAIN

KEY_NAME = "data.tasks"
VERSION = 3

KINDS: dict[str, TaskKind] = {"classification": classification.KIND, "tagging": tagging.KIND}


@dataclass(frozen=True)
class Task:
    """A task. splits: examples of its kind; labels: the names of the label indices; metric: the one to report.

    places: where each example of a split was read, also of those that ``max_examples`` leaves out; empty if it was
    loaded.
    """

    labels: list[str]
    metric: str
    splits: dict[str, list[Any]]
    kind: str = "classification"
    places: dict[str, list[str]] = field(default_factory=dict, compare=False)

    @property
    def measured(self) -> list[str]:
        """The splits that are scored and must not be trained on: all except the training split."""
        return [split for split in self.splits if split != TRAIN]

    def answer(self, example: Any) -> str:
        """The true answer of an example as text: the name of its label, or the names of a sentence's tags."""
        return example.answer(self.labels)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """How many examples, or words, have each label in each split."""
        counted = {
            split: Counter(index for example in examples for index in example.targets)
            for split, examples in self.splits.items()
        }
        return {split: {name: count[i] for i, name in enumerate(self.labels)} for split, count in counted.items()}


def read_task(cfg: TaskConfig) -> Task:
    """Read, check and cut a task. The result does not depend on the order of lines in the files.

    ``max_examples`` keeps the first examples by the hash of their text; in pydoc classification tasks the classes take
    turns. Raises ConfigError for every fault of the data.
    """
    labels, splits, places = KINDS[cfg.kind].read(cfg, task_files(cfg))
    return Task(labels, cfg.metric, splits, cfg.kind, places)


def check_task(cfg: TaskConfig) -> None:
    """Cheap checks before training: packages or files, and the columns of each file's first row. Raises ConfigError."""
    kind = KINDS[cfg.kind]
    if cfg.format == "pydoc":
        kind.check_question(cfg.question)
        corpus.check("scientific")
    for file in task_files(cfg).values():
        kind.check_first(cfg, file)


def task_files(cfg: TaskConfig) -> dict[str, Path]:
    """The file of each split; none for a pydoc task. Raises ConfigError for a missing file."""
    formats = KINDS[cfg.kind].formats
    if cfg.format not in formats:
        raise ConfigError(f"task.format={cfg.format}: possible are {', '.join(formats)}")
    if cfg.format == "pydoc":
        return {}
    assert cfg.path is not None
    return {split: _split_file(cfg.path, split, cfg.format) for split in SPLITS}


def write_task(task: Task, folder: Path) -> None:
    """Write a file for each split, and task.json (labels, metric, kind, counts), into an existing folder.

    report.json tells how many examples each split has, and where those that are used were read.
    """
    for split, examples in task.splits.items():
        with open(folder / f"{split}.jsonl", "w", encoding="utf-8") as stream:
            for example in examples:
                row = {name: value for name, value in asdict(example).items() if value is not None}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    description = {"labels": task.labels, "metric": task.metric, "kind": task.kind, "counts": task.counts}
    (folder / "task.json").write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    given = {split: len(task.places.get(split, examples)) for split, examples in task.splits.items()}
    places = {split: task.places.get(split, [])[: len(examples)] for split, examples in task.splits.items()}
    report = {"given": given, "places": places}
    (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False) + "\n", encoding="utf-8")


def load_task(folder: Path) -> Task:
    """Read a task that write_task wrote."""
    description = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    kind = description["kind"]
    written = [split for split in SPLITS if split in description["counts"]]
    splits = {
        split: [KINDS[kind].example(**row) for _, row in read_rows(folder / f"{split}.jsonl")] for split in written
    }
    return Task(description["labels"], description["metric"], splits, kind)


def _split_file(folder: str, split: str, kind: str) -> Path:
    names = [f"{split}.{kind}"] if kind == "parquet" else [f"{split}.{kind}", f"{split}.{kind}.gz"]
    for name in names:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise ConfigError(f"task.path={folder}: no {' or '.join(names)} in it; {nearby(Path(folder) / names[0])}")
