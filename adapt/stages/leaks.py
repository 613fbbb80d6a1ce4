"""Which dev and test examples are clean: contained neither in the training split nor in pretraining text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapt.config import RuntimeConfig
from adapt.data import corpora, tasks
from adapt.data.leaks.comparison import Comparison, compare, hit_row, labelled
from adapt.data.leaks.overlap import LEVELS
from adapt.data.splits import DEV, REPORTED, TRAIN
from adapt.table.measurement import measurement
from adapt.table.reading import contained_in

KEY_NAME = "stages.leaks"
VERSION = 2
CLEAN = "clean.json"


def leaks(argument: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Search all text that the models of a run are trained on for the dev and test examples of its task.

    inputs: ``task``, the run's own task; ``whole``, the same task with all its labels, whose training split is searched
    so that all label budgets call the same examples clean; every other input is a corpus folder, whose training texts
    are searched. Writes clean.json, the ids of each split's examples that no training text contains (level
    ``contained``, adapt/data/leaks/overlap.py), and report.json, the hits. Rows: leaked examples by level, and the
    examples that stand in another split.
    """
    task, whole = (tasks.load_task(inputs[name]) for name in ("task", "whole"))
    examples = {split: labelled(task, split) for split in task.measured}
    comparisons = compare(TRAIN, labelled(whole, TRAIN), examples)
    for name in sorted(set(inputs) - {"task", "whole"}):
        comparisons += compare(name, ((text, None) for text in corpora.load_corpus(inputs[name]).train), examples)
    leaky = {split: leaked(comparisons, split) for split in examples}
    ids = {split: [i for i in range(len(texts)) if i not in leaky[split]] for split, texts in examples.items()}
    (out / CLEAN).write_text(json.dumps(ids) + "\n", encoding="utf-8")
    hits = [hit_row(one, hit) for one in comparisons for hit in one.hits]
    (out / "report.json").write_text(json.dumps({"hits": hits}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    counted = [
        measurement(split, f"leaked_{level}", len(leaked(comparisons, split, level)), n=len(examples[split]))
        for split in examples
        for level in LEVELS
    ]
    reported = {split: texts for split, texts in examples.items() if split in REPORTED}
    between = [one for one in comparisons if one.source == TRAIN] + compare(DEV, labelled(whole, DEV), reported)
    return counted + overlaps(between)


def overlaps(between: list[Comparison]) -> list[dict[str, Any]]:
    """Rows with how many examples of one split stand in another: test in dev, and both in train."""
    return [
        measurement(
            one.target,
            contained_in(one.source, exact=level == "exact"),
            len(leaked([one], one.target, level)),
            n=len(one.texts),
        )
        for one in between
        for level in ("exact", "contained")
    ]


def leaked(comparisons: list[Comparison], split: str, level: str = "contained") -> set[int]:
    """The ids of the examples of a split that have a hit at this level in any of the comparisons."""
    return {hit.number for one in comparisons if one.target == split for hit in one.hits if hit.at(level)}


def clean_ids(folder: Path, split: str) -> list[int]:
    """The ids of a split's clean examples, read from the folder of a leaks stage."""
    ids: list[int] = json.loads((folder / CLEAN).read_text(encoding="utf-8"))[split]
    return ids
