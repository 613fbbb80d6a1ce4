"""Classification: a text, or a pair of texts, with one label."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapt.config import ConfigError, TaskConfig
from adapt.data.files import Row, check_written_back, column, readable_text
from adapt.data.kinds.kind import Answers, Places, TaskKind, named
from adapt.data.pydoc import tasks
from adapt.data.splits import MEASURED, TRAIN
from adapt.data.task_files import split_rows
from adapt.data.text import in_hash_order

KEY_NAME = "data.kinds.classification"
VERSION = 1

DASH = "-"


@dataclass(frozen=True)
class Example:
    """A text or a pair of texts, with the index of its label. ``id`` is its place in its split."""

    id: int
    text: str
    label: int
    text_pair: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, and the second text of a pair."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)

    @property
    def targets(self) -> tuple[int, ...]:
        """The index of its label."""
        return (self.label,)

    def answer(self, labels: Sequence[str]) -> str:
        """The name of its label."""
        return labels[self.label]


@dataclass(frozen=True)
class _Named:
    """An example whose label is still a name, not an index; ``where`` is its file and line."""

    where: str
    text: str
    text_pair: str | None
    label: str


def read(cfg: TaskConfig, files: Mapping[str, Sequence[Path]]) -> tuple[list[str], dict[str, list[Any]], Places]:
    """The names of the labels, the examples of each split, ordered by the hash of their text, and their places.

    Labels are the names that occur in the training split, in alphabetical order (in numerical order if all are
    integers). Examples of pydoc tasks take turns by class. ``cfg.max_examples`` keeps the first ones.
    Raises ConfigError for every fault of the data.
    """
    splits = _from_packages(cfg) if cfg.format == "pydoc" else _from_files(cfg, files)
    labels = _labels(cfg, splits)
    index = {name: number for number, name in enumerate(labels)}
    examples: dict[str, list[Any]] = {}
    for split, all_named in splits.items():
        first = all_named[: getattr(cfg.max_examples, split)]
        examples[split] = [Example(i, e.text, index[e.label], e.text_pair) for i, e in enumerate(first)]
    if len({example.label for example in examples[TRAIN]}) < 2:
        raise ConfigError(f"task.max_examples.train={cfg.max_examples.train}: leaves fewer than two labels to train on")
    return labels, examples, {split: [example.where for example in found] for split, found in splits.items()}


def read_unlabelled(row: Row) -> dict[str, Any]:
    """The columns of a row. Raises ConfigError if a text of it cannot be read, or if it could not be written back."""
    readable_text(row, "text", "the column that predict reads")
    if row[1].get("text_pair") is not None:
        readable_text(row, "text_pair", "the second text of a pair")
    check_written_back(row)
    return row[1]


def check_first(cfg: TaskConfig, split: str, files: Sequence[Path]) -> None:
    """Raise ConfigError for a split without examples, or if its first example cannot be read."""
    for row in split_rows(cfg, split, files):
        _named(cfg, row)
        return
    raise ConfigError(f"{files[0]}: this split has no examples")


def check_columns(key: str, cfg: TaskConfig) -> None:
    """Nothing to refuse: a text may have a pair or none."""


def read_answers(evaluation: Path, split: str, labels: list[str], examples: list[Example]) -> Answers:
    """The likeliest labels, with the logits as columns ``logit:<label>``."""
    logits = np.load(evaluation / answers_file(split), allow_pickle=False)
    gold = np.array([example.label for example in examples])
    return Answers(
        [(example, 0) for example in examples],
        named(gold, labels),
        named(logits.argmax(-1), labels),
        {f"logit:{label}": logits[:, index].astype("float32") for index, label in enumerate(labels)},
    )


def answers_file(split: str) -> str:
    """The name of the file with the logits [N, C] of a split, in an evaluation's folder."""
    return f"{split}_logits.npy"


def sorted_names(names: Iterable[str]) -> list[str]:
    """Distinct names in alphabetical order, or in numerical order if all are integers."""
    distinct = set(names)
    return sorted(distinct, key=int) if all(re.fullmatch(r"-?\d+", name) for name in distinct) else sorted(distinct)


def _from_packages(cfg: TaskConfig) -> dict[str, list[_Named]]:
    splits = tasks.task(cfg.question)
    return {
        split: [_Named("installed packages", text, None, label) for text, label in examples]
        for split, examples in splits.items()
    }


def _from_files(cfg: TaskConfig, files: Mapping[str, Sequence[Path]]) -> dict[str, list[_Named]]:
    splits = {}
    for split, of_split in files.items():
        examples = [_named(cfg, row) for row in split_rows(cfg, split, of_split)]
        if not examples:
            raise ConfigError(f"{of_split[0]}: the {split} split of task={cfg.name} has no examples")
        splits[split] = in_hash_order(examples, lambda e: json.dumps([e.text, e.text_pair, e.label]))
    return splits


def _named(cfg: TaskConfig, row: Row) -> _Named:
    label = column(row, cfg.label_column, "task.label_column")
    if not isinstance(label, (str, int)) or isinstance(label, bool):
        raise ConfigError(
            f"{row[0]}: label {label!r} (task.label_column={cfg.label_column}); it must be a string or an integer"
        )
    pair = cfg.text_pair_column and readable_text(row, cfg.text_pair_column, "task.text_pair_column")
    return _Named(row[0], readable_text(row, cfg.text_column, "task.text_column"), pair, label_name(cfg, row[0], label))


def label_name(cfg: TaskConfig, where: str, label: str | int) -> str:
    """A label's name: of an integer by ``cfg.label_names``. Raises ConfigError for one that is not among them."""
    names = cfg.label_names
    if not str(label).strip():
        raise ConfigError(f"{where}: its label is empty; label it, or leave such examples out: task.no_label={label!r}")
    if names is None or label in names:
        return str(label)
    if re.fullmatch(r"\d+", str(label)) and int(label) < len(names):
        return names[int(label)]
    raise ConfigError(
        f"{where}: label {label!r}; task.label_names={names} has names for 0 to {len(names) - 1}; "
        f"task.no_label={label} leaves out examples that have no label"
    )


def _labels(cfg: TaskConfig, splits: dict[str, list[_Named]]) -> list[str]:
    """The training split's labels, sorted. Raises ConfigError for one, a wrong count, or a new one elsewhere."""
    labels = sorted_names(example.label for example in splits[TRAIN])
    listed = ", ".join(map(repr, labels))
    _refuse_dash(cfg, splits)
    if cfg.negative_class is not None and cfg.negative_class not in labels:
        raise ConfigError(f"task.negative_class={cfg.negative_class}: the training split has {listed}")
    if len(labels) < 2:
        raise ConfigError(f"task={cfg.name}: the training split has one label only, {listed}; a task needs two or more")
    if cfg.num_classes not in (None, len(labels)):
        raise ConfigError(f"task.num_classes={cfg.num_classes}: the training split has {len(labels)} labels: {listed}")
    for split in MEASURED:
        for example in splits.get(split, []):
            if example.label not in labels:
                raise ConfigError(
                    f"{example.where}: label {example.label!r} in {split} does not occur in train, which has {listed}"
                )
    return labels


def _refuse_dash(cfg: TaskConfig, splits: dict[str, list[_Named]]) -> None:
    """Refuse - beside labels in words: in SNLI and its like it says that the annotators did not agree on a label."""
    found = {example.label for examples in splits.values() for example in examples}
    if DASH in found and cfg.label_names is None and any(any(c.isalpha() for c in label) for label in found):
        first = next(e for examples in splits.values() for e in examples if e.label == DASH)
        others = ",".join(sorted_names(found))
        raise ConfigError(
            f"{first.where}: the label '-' says in SNLI and its like that an example has none; task.no_label=- leaves "
            f"such examples out; if it is a class, name all of them: task.label_names=[{others}]"
        )


KIND = TaskKind(
    does="labels texts",
    classifies=True,
    formats=("pydoc", "jsonl", "csv", "parquet", "datasets"),
    reading=("adapt.data.kinds.classification",),
    reading_packages=(),
    answering=("adapt.tasks.classification", "adapt.tasks.prediction", "adapt.tasks.scores"),
    example=Example,
    read=read,
    read_unlabelled=read_unlabelled,
    check_first=check_first,
    check_question=tasks.check,
    check_columns=check_columns,
    read_answers=read_answers,
)
