"""Tasks: read from files or packages, checked, and kept as a folder of three splits.

Of kind classification here; the sentences and tags of kind tagging come from adapt/data/tagging.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, TaskConfig
from adapt.data import tagging
from adapt.data.files import Row, column, format_of, nearby, read_rows, text_column
from adapt.data.pydoc import corpus, entities, tasks
from adapt.data.tagging import TaggedExample
from adapt.data.text import in_hash_order

KEY_NAME = "data.tasks"
VERSION = 2

SPLITS = ("train", "dev", "test")
FILE_FORMATS = {"classification": ("jsonl", "csv", "parquet"), "tagging": tagging.FORMATS}


@dataclass(frozen=True)
class Example:
    """A text (or a pair) and the index of its label. ``id`` is its place in its split."""

    id: int
    text: str
    label: int
    text_pair: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, and its pair where there is one."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)


@dataclass(frozen=True)
class Task:
    """``splits``: train, dev and test; ``labels``: the names of the label indices; ``metric``: the one to report.

    An example is an Example or, of kind tagging, a TaggedExample, whose labels are the names of tags.
    """

    labels: list[str]
    metric: str
    splits: dict[str, list[Any]]
    kind: str = "classification"

    def answer(self, example: Any) -> str:
        """The name of an example's label; of a sentence, those of its tags with spaces between."""
        return " ".join(self.labels[index] for index in label_indices(example))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Examples of each label in each split; of kind tagging, words of each tag."""
        counted = {
            split: Counter(index for example in examples for index in label_indices(example))
            for split, examples in self.splits.items()
        }
        return {split: {name: count[i] for i, name in enumerate(self.labels)} for split, count in counted.items()}


def label_indices(example: Example | TaggedExample) -> tuple[int, ...]:
    """The indices of an example's one label, or of its words' tags."""
    return example.tags if isinstance(example, TaggedExample) else (example.label,)


@dataclass(frozen=True)
class _Named:
    """An example whose label is still a name; ``where`` is its file and line."""

    where: str
    text: str
    text_pair: str | None
    label: str


def read_task(cfg: TaskConfig) -> Task:
    """Read, check and cut a task. Its bytes do not depend on the order of lines in the files.

    Labels are the names that occur in the training split, in alphabetical order (in numerical order if all are
    integers). ``max_examples`` takes the first examples by the hash of their text; those of pydoc tasks come class by
    class in turn. Raises ConfigError for every fault of the data.
    """
    if cfg.kind == "tagging":
        tags, sentences = tagging.read_splits(cfg, dict(zip(SPLITS, task_files(cfg), strict=False)))
        return Task(tags, cfg.metric, dict(sentences), cfg.kind)
    splits = _from_packages(cfg) if cfg.format == "pydoc" else _from_files(cfg)
    labels = _labels(cfg, splits)
    index = {name: number for number, name in enumerate(labels)}
    task = Task(labels, cfg.metric, {})
    for split, examples in splits.items():
        kept = examples[: getattr(cfg.max_examples, split)]
        task.splits[split] = [Example(i, e.text, index[e.label], e.text_pair) for i, e in enumerate(kept)]
    if len({example.label for example in task.splits["train"]}) < 2:
        raise ConfigError(f"task.max_examples.train={cfg.max_examples.train}: leaves fewer than two labels to train on")
    return task


def check_task(cfg: TaskConfig) -> None:
    """The cheap checks before training: packages or files, the columns of each file's first row. Raises ConfigError."""
    if cfg.format == "pydoc":
        (entities if cfg.kind == "tagging" else tasks).check(cfg.question)
        corpus.check("scientific")
        return
    for file in task_files(cfg):
        if cfg.kind == "tagging":
            tagging.check_first(cfg, file)
        else:
            _named(cfg, _first(file))


def task_files(cfg: TaskConfig) -> list[Path]:
    """The files of train, dev and test; none for a pydoc task. Raises ConfigError for one that is not there."""
    if cfg.format == "pydoc":
        return []
    formats = FILE_FORMATS["tagging" if cfg.kind == "tagging" else "classification"]
    if cfg.format not in formats:
        raise ConfigError(f"task.format={cfg.format}: possible are pydoc, {', '.join(formats)}")
    assert cfg.path is not None
    return [_split_file(cfg.path, split, cfg.format) for split in SPLITS]


def write_task(task: Task, folder: Path) -> None:
    """Write train.jsonl, dev.jsonl, test.jsonl and task.json (labels, metric, counts) into an existing folder."""
    for split, examples in task.splits.items():
        with open(folder / f"{split}.jsonl", "w", encoding="utf-8") as stream:
            for example in examples:
                row = {name: value for name, value in asdict(example).items() if value is not None}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    description = {"labels": task.labels, "metric": task.metric, "kind": task.kind, "counts": task.counts}
    (folder / "task.json").write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_task(folder: Path) -> Task:
    """Read back what write_task wrote."""
    description = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    kind = description["kind"]
    example = _tagged if kind == "tagging" else Example
    splits = {split: [example(**row) for _, row in read_rows(folder / f"{split}.jsonl")] for split in SPLITS}
    return Task(description["labels"], description["metric"], splits, kind)


def _tagged(id: int, tokens: list[str], tags: list[int]) -> TaggedExample:
    return TaggedExample(id, tuple(tokens), tuple(tags))


def _from_packages(cfg: TaskConfig) -> dict[str, list[_Named]]:
    found = tasks.task(cfg.question)
    return {
        split: [_Named("installed packages", text, None, label) for text, label in examples]
        for split, examples in found.items()
    }


def _from_files(cfg: TaskConfig) -> dict[str, list[_Named]]:
    splits = {}
    for split, file in zip(SPLITS, task_files(cfg), strict=True):
        examples = [_named(cfg, row) for row in read_rows(file)]
        if not examples:
            raise ConfigError(f"{file}: the {split} split of task={cfg.name} has no examples")
        splits[split] = in_hash_order(examples, lambda e: json.dumps([e.text, e.text_pair, e.label]))
    return splits


def _split_file(folder: str, split: str, kind: str) -> Path:
    names = [f"{split}.{kind}"] if kind == "parquet" else [f"{split}.{kind}", f"{split}.{kind}.gz"]
    for name in names:
        if (Path(folder) / name).is_file():
            return Path(folder) / name
    raise ConfigError(f"task.path={folder}: no {' or '.join(names)} in it; {nearby(Path(folder) / names[0])}")


def _first(file: Path) -> Row:
    assert format_of(file)
    for row in read_rows(file):
        return row
    raise ConfigError(f"{file}: this split has no examples")


def _named(cfg: TaskConfig, row: Row) -> _Named:
    label = column(row, cfg.label_column, "task.label_column")
    if not isinstance(label, (str, int)) or isinstance(label, bool):
        raise ConfigError(
            f"{row[0]}: label {label!r} (task.label_column={cfg.label_column}); it must be a string or an integer"
        )
    pair = cfg.text_pair_column and text_column(row, cfg.text_pair_column, "task.text_pair_column")
    return _Named(row[0], text_column(row, cfg.text_column, "task.text_column"), pair, str(label))


def _labels(cfg: TaskConfig, splits: dict[str, list[_Named]]) -> list[str]:
    """The training split's labels in order. Raises ConfigError for one class, a wrong count, or more in dev or test."""
    labels = sorted_names(example.label for example in splits["train"])
    listed = ", ".join(map(repr, labels))
    if len(labels) < 2:
        raise ConfigError(f"task={cfg.name}: the training split has one label only, {listed}; a task needs two or more")
    if cfg.num_classes not in (None, len(labels)):
        raise ConfigError(f"task.num_classes={cfg.num_classes}: the training split has {len(labels)} labels: {listed}")
    for split in ("dev", "test"):
        for example in splits[split]:
            if example.label not in labels:
                raise ConfigError(
                    f"{example.where}: label {example.label!r} in {split} does not occur in train, which has {listed}"
                )
    return labels


def sorted_names(names: Iterable[str]) -> list[str]:
    """Distinct names in alphabetical order, or in numerical order if all are integers."""
    found = set(names)
    return sorted(found, key=int) if all(re.fullmatch(r"-?\d+", name) for name in found) else sorted(found)
