"""The files of a task's splits, as they are published in many ways, and the rows of each split.

A folder has a file for each split: ``train.jsonl``, ``validation.csv``, ``test-00000-of-00002.parquet``. One file may
hold all splits (``task.split_column``). A folder that ``save_to_disk`` of the datasets library wrote has a folder for
each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, TaskConfig
from adapt.data.files import Row, column, nearby, read_rows
from adapt.data.splits import NAMES, SPLITS, split_called

KEY_NAME = "data.task_files"
VERSION = 1

# The endings of each format's files; the first is its own, the others are read if there is no file with that one.
ENDINGS = {
    "jsonl": ("jsonl", "json"),
    "csv": ("csv", "tsv"),
    "parquet": ("parquet",),
    "conll": ("conll", "conllu", "iob2", "iob", "bio", "tsv", "txt"),
}
SAVED = "datasets"  # the format of folders that save_to_disk wrote
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.parquet")
_NULLS = ("-1", "null")
_SAVED_DICT, _SAVED_STATE = "dataset_dict.json", "state.json"


def split_files(cfg: TaskConfig) -> dict[str, list[Path]]:
    """The files of each split of a task of files. Raises ConfigError for a missing file, and for two that may be it."""
    assert cfg.path is not None
    place = Path(cfg.path)
    if cfg.split_column is not None:
        return dict.fromkeys(SPLITS, [_whole_file(cfg, place)])
    if place.is_file():
        raise ConfigError(
            f"task.path={place}: is a file; give a folder with train, dev and test, or, if the file has all splits, "
            "task.split_column=<the column that says which>"
        )
    if cfg.format == SAVED:
        return {split: _saved_files(place, split) for split in SPLITS}
    return {split: _files_of(place, split, cfg.format) for split in SPLITS}


def split_rows(cfg: TaskConfig, split: str, files: Sequence[Path]) -> Iterator[Row]:
    """The rows of a split, without those whose label is ``cfg.no_label``.

    Raises ConfigError with file and line for a split of an unknown name, and for an ``id`` that an earlier row has.
    """
    seen: dict[Any, str] = {}
    for file in files:
        for row in read_rows(file, cfg.delimiter, cfg.quotes):
            if cfg.split_column is not None and _split_of(cfg, row) != split:
                continue
            _check_id(row, seen)
            if not _lacks_label(cfg, row):
                yield row


def unlabelled(cfg: TaskConfig, split: str, files: Sequence[Path]) -> int:
    """How many rows of a split have no label: ``cfg.no_label`` stands for it."""
    rows = (row for file in files for row in read_rows(file, cfg.delimiter, cfg.quotes))
    of_split = (row for row in rows if cfg.split_column is None or _split_of(cfg, row) == split)
    return sum(_lacks_label(cfg, row) for row in of_split)


def _lacks_label(cfg: TaskConfig, row: Row) -> bool:
    """Whether its label is ``cfg.no_label``; a null, as which ClassLabel's -1 is read, is both -1 and null there."""
    label = row[1].get(cfg.label_column, "")
    return cfg.no_label is not None and (str(label) == cfg.no_label or (label is None and cfg.no_label in _NULLS))


def _split_of(cfg: TaskConfig, row: Row) -> str:
    given = column(row, str(cfg.split_column), "task.split_column")
    split = split_called(str(given))
    if split is None:
        possible = ", ".join(name for names in NAMES.values() for name in names)
        raise ConfigError(f"{row[0]}: split {given!r} (task.split_column={cfg.split_column}); possible are {possible}")
    return split


def _check_id(row: Row, seen: dict[Any, str]) -> None:
    where, columns = row
    identity = columns.get("id")
    if isinstance(identity, (str, int)) and identity != "":
        if identity in seen:
            raise ConfigError(
                f"{where}: its id {identity!r} is that of {seen[identity]} too; remove one of the two, or rename the "
                "column if it does not tell examples apart"
            )
        seen[identity] = where


def _files_of(folder: Path, split: str, form: str) -> list[Path]:
    """The file of a split, or its numbered parts: of the format's own ending, else of another that it may have."""
    own, *others = ENDINGS[form]
    for endings in ([own], others):
        found = [file for ending in endings for file in _called(folder, split, ending)]
        parts = _parts(folder, split) if "parquet" in endings else []
        if len(found) + bool(parts) > 1:
            names = " and ".join(file.name for file in [*found, *parts[:1]])
            raise ConfigError(f"task.path={folder}: {names} may each be the {split} split; leave one there")
        if found or parts:
            return found or parts
    names = " or ".join([f"{split}.{own}", f"{split}.{own}.gz"][: 1 if own == "parquet" else 2])
    also = [f"{split}.{ending}" for ending in others] + [f"{name}.{own}" for name in NAMES[split] if name != split]
    saved = (folder / _SAVED_DICT).is_file() or (folder / _SAVED_STATE).is_file()
    hint = f"; save_to_disk wrote this folder: task.format={SAVED}" * saved
    more = f"; also read: {', '.join(also)}" * bool(also and folder.is_dir())
    raise ConfigError(f"task.path={folder}: no {names} in it; {nearby(folder / f'{split}.{own}')}{more}{hint}")


def _called(folder: Path, split: str, ending: str) -> list[Path]:
    names = [f"{name}.{ending}{packed}" for name in NAMES[split] for packed in ("", ".gz")]
    return [folder / name for name in names if (folder / name).is_file()]


def _parts(folder: Path, split: str) -> list[Path]:
    """The numbered parts of a split on the hub, all of them: train-00000-of-00002.parquet."""
    parts = {}
    for file in sorted(folder.glob("*-of-*.parquet")):
        match = _PART.fullmatch(file.name)
        if match and match[1] in NAMES[split]:
            parts[file] = (match[1], int(match[2]), int(match[3]))
    names = {(name, count) for name, _, count in parts.values()}
    if len(names) > 1:
        raise ConfigError(f"task.path={folder}: parts of several files may be the {split} split: {_listed(parts)}")
    expected = next(iter(names))[1] if names else 0
    if len(parts) != expected:
        raise ConfigError(f"task.path={folder}: of {expected} parts of the {split} split there are {_listed(parts)}")
    return list(parts)


def _saved_files(folder: Path, split: str) -> list[Path]:
    """The Arrow files of a split in a folder that ``save_to_disk`` wrote, in their order."""
    if not (folder / _SAVED_DICT).is_file():
        single = (folder / _SAVED_STATE).is_file()
        what = "is one dataset without splits" if single else f"has no {_SAVED_DICT}"
        raise ConfigError(
            f"task.path={folder}: {what}; task.format={SAVED} reads what DatasetDict.save_to_disk wrote, with a train, "
            f"a dev and a test split; {nearby(folder / _SAVED_DICT)}"
        )
    splits = json.loads((folder / _SAVED_DICT).read_text(encoding="utf-8"))["splits"]
    called = [name for name in splits if split_called(name) == split]
    if len(called) != 1:
        problem = f"{' and '.join(called)} may each be the {split} split" if called else f"no {split} split"
        raise ConfigError(f"task.path={folder}: {problem}; its splits are {', '.join(splits)}")
    state = json.loads((folder / called[0] / _SAVED_STATE).read_text(encoding="utf-8"))
    return [folder / called[0] / part["filename"] for part in state["_data_files"]]


def _whole_file(cfg: TaskConfig, place: Path) -> Path:
    """The one file that has all splits: ``task.path`` itself, or the only file of the format in that folder."""
    if place.is_file():
        return place
    found = sorted(file for file in place.glob("*") if _ends(file, ENDINGS.get(cfg.format, ())))
    if len(found) != 1:
        told = f"{_listed(found)} may each be it" if found else nearby(place / "data")
        raise ConfigError(f"task.path={place}: task.split_column={cfg.split_column} is of one file; {told}")
    return found[0]


def _ends(file: Path, endings: Sequence[str]) -> bool:
    return file.is_file() and file.name.removesuffix(".gz").rpartition(".")[2] in endings


def _listed(files: Any) -> str:
    return ", ".join(file.name for file in files)
