"""Baselines of a task whose training part has lost a class to the budget, and what is said of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from adapt.config import SplitSizes, TaskConfig
from adapt.data import tasks
from adapt.data.kinds.classification import Example
from adapt.stages import baseline, data

WORDS = {"a": "iron gold tin", "b": "cat dog horse", "c": "red blue green"}


def labelled(labels: str) -> list[Example]:
    return [Example(n, f"{WORDS[name]} {n}", sorted(WORDS).index(name)) for n, name in enumerate(labels)]


@pytest.mark.parametrize("there", ["bc", "ac", "ab", "abc"])
def test_a_class_without_training_examples_keeps_its_place(tmp_path: Path, there: str) -> None:
    """Of the labels a, b, c the regression knows those of the training part; it answers these by their own index."""
    splits = {"train": labelled(there * 5), "dev": labelled(there * 2), "test": labelled("abc" * 3)}
    for folder in ("task", "model", "out"):
        (tmp_path / folder).mkdir()
    tasks.write_task(tasks.Task(["a", "b", "c"], "macro_f1", splits), tmp_path / "task")
    baseline.tfidf(None, {"task": tmp_path / "task"}, tmp_path / "model", None)  # type: ignore[arg-type]
    logits = baseline.tfidf_scores(tmp_path / "model", [WORDS[name] for name in "abc"])
    assert logits.shape == (3, 3) and np.isfinite(logits).all()
    for name in there:
        assert logits["abc".index(name)].argmax() == "abc".index(name)
    for name in set("abc") - set(there):
        assert (logits.argmax(-1) != "abc".index(name)).all()


def test_weights_by_hand() -> None:
    task = tasks.Task(["a", "b", "c"], "macro_f1", {})
    two = LogisticRegression()
    two.classes_ = np.array([0, 2])
    assert baseline.full(np.array([[2.0, 4.0]]), two, task).tolist() == [[-1, -2], [0, 0], [1, 2]]
    assert baseline.full(np.array([2.0]), two, task, baseline.UNSEEN).tolist() == [-1, baseline.UNSEEN, 1]


def config(folder: Path, train: int | None, **changes: object) -> TaskConfig:
    values = {"name": "mine", "kind": "classification", "format": "jsonl", "path": str(folder), "question": None}
    values |= {"text_column": "text", "text_pair_column": None, "label_column": "label", "metric": "macro_f1"}
    return TaskConfig(**{**values, "num_classes": None, "max_examples": SplitSizes(train, None, None), **changes})


def write(folder: Path, rows: list[dict]) -> None:
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_class_that_the_budget_lost_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(40)] + [{"text": "only one", "label": "rare"}]
    write(tmp_path, rows)
    said = {}
    for train in (None, 4):
        caplog.clear()
        (out := tmp_path / str(train)).mkdir()
        with caplog.at_level(logging.WARNING):
            measured = data.task(config(tmp_path, train), {}, out, None)  # type: ignore[arg-type]
        said[train] = ({row["metric"]: (row["value"], row["n"]) for row in measured}, caplog.text)
    assert said[None] == ({}, "")
    assert said[4][0] == {"lost_classes": (1, 4)} and "leaves no training example of rare" in said[4][1]


def test_a_type_of_spans_that_the_budget_lost_is_said(tmp_path: Path) -> None:
    rows = [{"tokens": [f"w{n}", "x"], "tags": ["B-A", "I-A"]} for n in range(20)]
    write(tmp_path, [*rows, {"tokens": ["once"], "tags": ["B-C"]}])
    (out := tmp_path / "out").mkdir()
    tagging = {"kind": "tagging", "metric": "span_f1", "text_column": "tokens", "label_column": "tags"}
    (row,) = data.task(config(tmp_path, 2, **tagging), {}, out, None)  # type: ignore[arg-type]
    assert (row["split"], row["metric"], row["value"]) == ("train", "lost_classes", 1)


def test_examples_without_a_label_are_counted(tmp_path: Path) -> None:
    write(tmp_path, [{"text": f"text {n}", "label": ["yes", "no", "-"][n % 3]} for n in range(9)])
    (out := tmp_path / "out").mkdir()
    rows = data.task(config(tmp_path, None, no_label="-"), {}, out, None)  # type: ignore[arg-type]
    assert {(row["split"], row["metric"], row["value"]) for row in rows} == {
        (split, "dropped_no_label", 3) for split in ("train", "dev", "test")
    }


def test_a_negative_class_must_be_a_label(tmp_path: Path) -> None:
    write(tmp_path, [{"text": f"text {n}", "label": ["yes", "no"][n % 2]} for n in range(6)])
    task = tasks.read_task(config(tmp_path, None, metric="micro_f1_positive", negative_class="no"))
    assert task.negative_index == 0 and task.labels == ["no", "yes"]
    with pytest.raises(ValueError, match=r"task\.negative_class=none: the training split has 'no', 'yes'"):
        tasks.read_task(config(tmp_path, None, negative_class="none"))
