"""Which dev and test examples are clean: held neither by the training split nor by text that pretraining kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapt.config import RuntimeConfig
from adapt.data import corpora, tasks
from adapt.data.leaks.comparison import Comparison, compare, hit_row, labelled
from adapt.data.leaks.overlap import LEVELS
from adapt.data.splits import TRAIN
from adapt.table.measurement import measurement

KEY_NAME = "stages.leaks"
VERSION = 1
CLEAN = "clean.json"


def leaks(argument: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Search the dev and test examples of ``inputs["task"]``, the run's own task, in what its models are trained on.

    That is the training split of ``inputs["whole"]``, whole whatever the budget labels, so that all budgets call the
    same examples clean; and the training texts of every other input, a corpus folder. Writes clean.json, the ids of
    each split's examples that are not ``contained`` in one of them (adapt/data/leaks/overlap.py), and report.json,
    the hits. Rows: how many examples one of them holds, by level.
    """
    task, whole = (tasks.load_task(inputs[name]) for name in ("task", "whole"))
    later = {split: labelled(task, split) for split in task.measured}
    found = compare(TRAIN, labelled(whole, TRAIN), later)
    for name in sorted(set(inputs) - {"task", "whole"}):
        found += compare(name, ((text, None) for text in corpora.load_corpus(inputs[name]).train), later)
    leaked = {split: held(found, split) for split in later}
    ids = {split: [i for i in range(len(texts)) if i not in leaked[split]] for split, texts in later.items()}
    (out / CLEAN).write_text(json.dumps(ids) + "\n", encoding="utf-8")
    hits = [hit_row(one, hit) for one in found for hit in one.hits]
    (out / "report.json").write_text(json.dumps({"hits": hits}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [
        measurement(split, f"leaked_{level}", len(held(found, split, level)), n=len(later[split]))
        for split in later
        for level in LEVELS
    ]


def held(found: list[Comparison], split: str, level: str = "contained") -> set[int]:
    """The ids of a split's examples that any of the comparisons found at this level."""
    return {hit.number for one in found if one.target == split for hit in one.hits if hit.at(level)}


def clean_ids(folder: Path, split: str) -> list[int]:
    """The ids of a split's clean examples, from the folder of a leaks stage."""
    found: list[int] = json.loads((folder / CLEAN).read_text(encoding="utf-8"))[split]
    return found
