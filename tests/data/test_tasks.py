from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adapt.config import ConfigError, SplitSizes, TaskConfig
from adapt.data.kinds.classification import Example, sorted_names
from adapt.data.tasks import check_task, load_task, read_task, task_files, write_task
from adapt.data.text import in_hash_order

Write = Callable[[str, Any], Path]
Config = Callable[..., TaskConfig]

ROWS = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(10)]


def row(**columns: Any) -> dict[str, Any]:
    return {"text": "x", **columns}


@pytest.fixture
def splits(write: Write) -> None:
    for split in ("train", "dev", "test"):
        write(f"{split}.jsonl", ROWS)


@pytest.mark.usefixtures("splits")
def test_labels_are_indices_into_sorted_names(task_config: Config) -> None:
    task = read_task(task_config())
    assert task.labels == ["a", "b"] and task.metric == "macro_f1"
    for examples in task.splits.values():
        assert sorted((e.text, task.labels[e.label]) for e in examples) == [(r["text"], r["label"]) for r in ROWS]
        assert [e.id for e in examples] == list(range(10))
    assert task.counts == {split: {"a": 5, "b": 5} for split in ("train", "dev", "test")}


def test_label_names() -> None:
    assert sorted_names(["10", "9", "9", "-1"]) == ["-1", "9", "10"]
    assert sorted_names(["b", "10", "9"]) == ["10", "9", "b"]


@pytest.mark.usefixtures("splits")
def test_csv_parquet_and_gz_give_the_same_task(write: Write, task_config: Config, tmp_path: Path) -> None:
    expected = read_task(task_config())
    for split in ("train", "dev", "test"):
        frame = pd.DataFrame(ROWS)
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
        frame.to_parquet(tmp_path / f"{split}.parquet")
    assert read_task(task_config(format="csv")) == expected
    assert read_task(task_config(format="parquet")) == expected
    for split in ("train", "dev", "test"):
        file = tmp_path / f"{split}.jsonl"
        write(f"{split}.jsonl.gz", gzip.compress(file.read_bytes()))
        file.unlink()
    assert read_task(task_config()) == expected


@pytest.mark.usefixtures("splits")
def test_the_order_of_lines_changes_nothing(write: Write, task_config: Config) -> None:
    config = task_config(max_examples=SplitSizes(6, None, 3))
    before = read_task(config)
    assert [len(examples) for examples in before.splits.values()] == [6, 10, 3]
    for split in ("train", "dev", "test"):
        write(f"{split}.jsonl", random.Random(0).sample(ROWS, len(ROWS)))
    assert read_task(config) == before


@pytest.mark.usefixtures("splits")
def test_fewer_examples_are_the_first_of_more(task_config: Config) -> None:
    more = read_task(task_config()).splits["train"]
    assert read_task(task_config(max_examples=SplitSizes(6, None, None))).splits["train"] == more[:6]
    assert in_hash_order(ROWS, lambda r: json.dumps([r["text"], None, r["label"]]))[0]["text"] == more[0].text


def test_pairs_and_integer_labels(write: Write, task_config: Config) -> None:
    for split in ("train", "dev", "test"):
        write(f"{split}.jsonl", [{"a": "x", "b": "y", "gold": 10}, {"a": "z", "b": "w", "gold": 2}])
    config = task_config(text_column="a", text_pair_column="b", label_column="gold", num_classes=2)
    check_task(config)
    task = read_task(config)
    assert task.labels == ["2", "10"]
    found = {(e.text, e.text_pair, e.label) for e in task.splits["test"]}
    assert found == {("x", "y", 1), ("z", "w", 0)}
    assert Example(0, "x", 1, "y").texts == ("x", "y") and Example(0, "x", 1).texts == ("x",)


def test_a_task_folder_reads_back(write: Write, task_config: Config, tmp_path: Path) -> None:
    rows = [{"text": "größe\u2028 \u0085x", "pair": "p", "label": "a"}, {"text": "y", "pair": "q", "label": "b"}]
    for split in ("train", "dev", "test"):
        write(f"{split}.jsonl", rows)
    task = read_task(task_config(text_pair_column="pair"))
    folder = tmp_path / "out"
    folder.mkdir()
    write_task(task, folder)
    assert load_task(folder) == task
    assert json.loads((folder / "task.json").read_text()) == {
        "labels": ["a", "b"],
        "metric": "macro_f1",
        "kind": "classification",
        "counts": {split: {"a": 1, "b": 1} for split in ("train", "dev", "test")},
    }
    first = json.loads((folder / "train.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert set(first) == {"id", "text", "text_pair", "label"}


@pytest.mark.usefixtures("splits")
@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"path": "/nowhere/task"},
            r"task\.path=/nowhere/task: no train\.jsonl or train\.jsonl\.gz in it; there is no",
        ),
        ({"format": "csv"}, r"no train\.csv or train\.csv\.gz in it; .* holds dev\.jsonl, test\.jsonl, train\.jsonl"),
        ({"format": "xml"}, r"task\.format=xml: possible are pydoc, jsonl, csv, parquet"),
        ({"text_column": "body"}, r"train\.jsonl:1: no column 'body' \(task\.text_column=body\); it has 'text'"),
        ({"label_column": "y"}, r"train\.jsonl:1: no column 'y' \(task\.label_column=y\); it has 'text', 'label'"),
        ({"text_pair_column": "b"}, r"train\.jsonl:1: no column 'b' \(task\.text_pair_column=b\)"),
        ({"format": "pydoc", "question": "x"}, r"task\.question=x: no such question; possible: topic, section"),
    ],
)
def test_what_is_refused_before_training(task_config: Config, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_task(task_config(**changes))
    with pytest.raises(ConfigError, match=message):
        read_task(task_config(**changes))


@pytest.mark.usefixtures("splits")
@pytest.mark.parametrize(
    "file, rows, message",
    [
        ("dev.jsonl", [], r"dev\.jsonl: the dev split of task=mine has no examples"),
        ("train.jsonl", ROWS[::2], r"task=mine: the training split has one label only, 'a'; a task needs two or more"),
        ("test.jsonl", [*ROWS, row(label="c")], r"test\.jsonl:11: label 'c' in test does not occur in train, .* 'b'"),
        ("dev.jsonl", [row()], r"dev\.jsonl:1: no column 'label' \(task\.label_column=label\); it has 'text'"),
        ("dev.jsonl", [*ROWS, row(text=None, label="a")], r"dev\.jsonl:11: column 'text' .* holds None; it must be"),
        ("dev.jsonl", [row(text="ab\ud83d", label="a")], r"holds half a character, '\\ud83d', at position 2"),
        ("dev.jsonl", [row(label=1.5)], r"dev\.jsonl:1: label 1\.5 .*; it must be a string or an integer"),
        ("dev.jsonl", [row(label=True)], r"dev\.jsonl:1: label True .*; it must be a string or an integer"),
    ],
)  # fmt: skip
def test_what_reading_refuses(task_config: Config, write: Write, file: str, rows: list[Any], message: str) -> None:
    write(file, rows)
    with pytest.raises(ConfigError, match=message):
        read_task(task_config())


@pytest.mark.usefixtures("splits")
def test_a_wrong_number_of_classes(task_config: Config) -> None:
    with pytest.raises(ConfigError, match="task.num_classes=3: the training split has 2 labels: 'a', 'b'"):
        read_task(task_config(num_classes=3))


@pytest.mark.usefixtures("splits")
def test_too_few_training_examples_for_two_classes(task_config: Config) -> None:
    with pytest.raises(ConfigError, match="task.max_examples.train=1: leaves fewer than two labels"):
        read_task(task_config(max_examples=SplitSizes(1, None, None)))


@pytest.mark.usefixtures("splits")
def test_a_test_label_that_the_cut_training_split_lost_keeps_its_index(task_config: Config, write: Write) -> None:
    rare = [{"text": f"rare {number}", "label": "rare"} for number in range(2)]
    write("train.jsonl", [*ROWS, *rare])
    write("test.jsonl", [*ROWS, *rare])
    for size in (4, 6, 8, 10, 12):
        task = read_task(task_config(max_examples=SplitSizes(size, None, None)))
        assert task.labels == ["a", "b", "rare"]
        assert Counter(e.label for e in task.splits["test"]) == {0: 5, 1: 5, 2: 2}


@pytest.mark.usefixtures("splits")
def test_check_reads_only_the_first_row(task_config: Config, write: Write) -> None:
    write("dev.jsonl", '{"text": "x", "label": "a"}\nbroken')
    check_task(task_config())
    with pytest.raises(ConfigError, match=r"dev\.jsonl:2: not JSON"):
        read_task(task_config())
    write("test.jsonl", "")
    with pytest.raises(ConfigError, match=r"test\.jsonl: .* no examples"):
        check_task(task_config())


@pytest.mark.usefixtures("splits")
def test_the_files_of_a_task(task_config: Config, tmp_path: Path) -> None:
    assert task_files(task_config()) == {split: [tmp_path / f"{split}.jsonl"] for split in ("train", "dev", "test")}
    assert task_files(task_config(format="pydoc")) == {}
