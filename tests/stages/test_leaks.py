"""Clean test examples: the leaks stage finds them, they are scored separately, pretraining drops the others or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from world import WORDS, pipeline, sentence, write_jsonl

from adapt import results
from adapt.config import SplitSizes, TaskConfig
from adapt.data import corpora, tasks
from adapt.data.kinds.classification import Example
from adapt.stages import data
from adapt.stages.leaks import clean_ids, leaks
from adapt.tasks.scores import scores

LONG = "we measured the uptake of iron by the small fish under the old bridge"  # 14 words, 7 8-grams
SPLITS = {
    "train": [("gold is old", 0), ("a cat", 1), ("tin", 0)],
    "dev": [("Gold IS old!", 0), ("a new forge", 0)],
    "test": [("a cat", 1), ("Tin.", 0), (LONG, 1), ("rust", 0), ("fur", 1)],
}


def folder(path: Path, splits: dict[str, list[tuple[str, int]]], **sizes: int) -> Path:
    path.mkdir()
    splits = {
        split: [Example(i, text, label) for i, (text, label) in enumerate(examples)][: sizes.get(split)]
        for split, examples in splits.items()
    }
    tasks.write_task(tasks.Task(["metal", "animal"], "macro_f1", splits), path)
    return path


def by_metric(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[float, int]]:
    return {(row["split"], row["metric"]): (row["value"], row["n"]) for row in rows}


def test_clean_examples_are_in_neither_the_whole_training_split_nor_the_leaky_text(tmp_path: Path) -> None:
    """The run's task has one label per class and four test examples; all three training examples are searched."""
    whole = folder(tmp_path / "whole", SPLITS)
    own = folder(tmp_path / "own", SPLITS, train=2, test=4)
    leaky = tmp_path / "leaky"
    corpora.write_corpus(corpora.Corpus([f"In spring, {LONG}. Then", "a book"], ["rust"], {}), leaky)
    out = tmp_path / "out"
    out.mkdir()
    rows = by_metric(leaks(None, {"task": own, "whole": whole}, out, None))
    assert clean_ids(out, "dev") == [1] and clean_ids(out, "test") == [2, 3]
    assert [rows["test", f"leaked_{level}"] for level in ("exact", "normalised", "contained")] == [
        (1, 4),
        (2, 4),
        (2, 4),
    ]
    assert [rows["dev", f"leaked_{level}"] for level in ("exact", "normalised", "contained")] == [
        (0, 2),
        (1, 2),
        (1, 2),
    ]
    rows = by_metric(leaks(None, {"task": own, "whole": whole, "dapt text": leaky}, out, None))
    assert clean_ids(out, "test") == [3]  # the held-out part of the leaky text is not trained on
    assert rows["test", "leaked_contained"] == (3, 4) and rows["test", "leaked_normalised"] == (2, 4)
    hits = json.loads((out / "report.json").read_text())["hits"]
    assert [(hit["source"], hit["number"]) for hit in hits if hit["target"] == "test"] == [
        ("dapt text", 2), ("train", 0), ("train", 1)
    ] or [(hit["source"], hit["number"]) for hit in hits if hit["target"] == "test"] == [
        ("train", 0), ("train", 1), ("dapt text", 2)
    ]  # fmt: skip


def test_scores_of_the_clean_part_by_hand(tmp_path: Path) -> None:
    """Gold 1 0 1 0 1, predicted 1 0 0 0 1; without the first two gold is 1 0 1 and predicted 0 0 1.

    Whole: F1 of 0 is 2 * 2 / (2 * 2 + 1) = .8, of 1 the same. Clean: 2 / 3 and 2 / 3, accuracy 2 / 3.
    """
    task = tasks.load_task(folder(tmp_path / "task", SPLITS))
    rows = by_metric(scores("test", task, np.eye(2)[[1, 0, 0, 0, 1]], clean=[2, 3, 4]))
    assert rows["test", "macro_f1"] == (pytest.approx(0.8), 5) and rows["test", "accuracy"] == (0.8, 5)
    assert rows["test_clean", "macro_f1"] == (pytest.approx(2 / 3), 3)
    assert rows["test_clean", "accuracy"] == (pytest.approx(2 / 3), 3)


@pytest.mark.parametrize("clean", [[], [3], [1, 3], None])
def test_nothing_or_one_class_left_is_a_missing_row(tmp_path: Path, clean: list[int] | None) -> None:
    task = tasks.load_task(folder(tmp_path / "task", SPLITS))
    assert {split for split, _ in by_metric(scores("test", task, np.eye(2)[[1, 0, 0, 0, 1]], clean))} == {"test"}


def test_all_clean_gives_the_rows_too(tmp_path: Path) -> None:
    task = tasks.load_task(folder(tmp_path / "task", SPLITS))
    rows = by_metric(scores("test", task, np.eye(2)[[1, 0, 0, 0, 1]], [0, 1, 2, 3, 4]))
    assert rows["test_clean", "macro_f1"] == rows["test", "macro_f1"]


def test_task_text_says_how_many_it_dropped_and_reads_the_pool(tmp_path: Path) -> None:
    own = folder(tmp_path / "task", {**SPLITS, "train": [*SPLITS["train"], ("ore", 0), ("paw", 1), ("Paw!", 1)]})
    write_jsonl(tmp_path / "more.jsonl", [{"body": f"{LONG} again"}, {"body": "a horse"}])
    cfg = TaskConfig(
        name="mine", unlabelled=str(tmp_path / "more.jsonl"), text_column="body", entity_markers="keep",
        max_examples=SplitSizes(4, None, None),
    )  # fmt: skip
    for pool, banned, train, expected in (
        (False, True, ["ore"], {"dropped_leaks": 3, "dropped_duplicate": 0, "documents": 1}),
        (False, False, ["gold is old", "a cat", "tin", "ore"], {"dropped_leaks": 0, "documents": 4}),
        (True, True, ["ore", "paw", "a horse"], {"dropped_leaks": 4, "dropped_duplicate": 1, "documents": 3}),
    ):
        out = tmp_path / f"{pool}{banned}"
        rows = by_metric(
            data.task_text(cfg, {"task": own, **({"banned": own} if banned else {})}, out, None, pool=pool)
        )
        assert list(corpora.load_corpus(out).train) == train
        assert {metric: rows["train", metric][0] for metric in expected} == expected
        assert json.loads((out / "report.json").read_text())["dropped"]["banned"] == expected["dropped_leaks"]


@pytest.fixture(scope="module")
def leaky(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world with a test text in the task's training split, in another task, in unlabelled text and in a corpus."""
    place = tmp_path_factory.mktemp("leaky")
    planted = f"Before. {sentence('animal', 200).upper()} After."
    for name in ("task", "other"):
        for split, numbers in {"train": range(20), "dev": range(100, 108), "test": range(200, 210)}.items():
            shift = 5000 if name == "other" else 0
            rows = [{"text": sentence(label, shift + i), "label": label} for i in numbers for label in WORDS]
            write_jsonl(
                place / name / f"{split}.jsonl", rows + [{"text": planted, "label": "animal"}] * (split == "train")
            )
    for name, numbers in (("corpus", range(1000, 1100)), ("more", range(2000, 2010))):
        rows = [{"text": sentence("metal", number)} for number in numbers]
        write_jsonl(place / f"{name}.jsonl", [*rows, {"text": planted}])
    return place


def settings(leaky: Path) -> list[str]:
    return [
        f"task.path={leaky / 'task'}", f"task.unlabelled={leaky / 'more.jsonl'}", "task@other_task=jsonl",
        f"other_task.path={leaky / 'other'}", f"corpus.path={leaky / 'corpus.jsonl'}",
        "budget.train_examples=null", "budget.eval_examples=null",
    ]  # fmt: skip


@pytest.mark.parametrize("stage", ["dapt", "tapt", "curated_tapt", "transfer_tapt"])
def test_a_planted_test_text_is_dropped_or_kept_and_then_not_clean(
    world: Path, leaky: Path, tmp_path: Path, stage: str
) -> None:
    leaked = sentence("animal", 200)
    for setting, held in (("drop", False), ("keep", True)):
        chain = pipeline(world, tmp_path, *settings(leaky), f"pretrain=[{stage}]", f"pretrain.{stage}.leaks={setting}")
        text = chain.stages[0].inputs["text"].inputs["text"]  # type: ignore[union-attr]
        read = corpora.load_corpus(chain.build(text).folder)
        assert any(leaked in one.lower() for one in [*read.train, *read.heldout]) is held
        searched = chain.build(chain.stages[-1].inputs["leaks"])  # type: ignore[arg-type]
        hits = json.loads((searched.folder / "report.json").read_text())["hits"]
        sources = {hit["source"] for hit in hits if hit["text"] == leaked}
        assert sources == ({"train", f"{stage} text"} if held else {"train"})
        assert clean_count(searched.folder) == 19


def clean_count(place: Path) -> int:
    return len(clean_ids(place, "test"))


@pytest.mark.parametrize("baseline", [["model=tfidf", "model.path=null"], ["finetune=linear_probe", "evaluate=clean"]])
def test_a_run_reports_the_clean_part_of_its_test_set(
    world: Path, leaky: Path, tmp_path: Path, baseline: list[str]
) -> None:
    pipeline(world, tmp_path, *settings(leaky), *baseline).run()
    table = results.load(tmp_path)
    rows = table[(table["metric"] == "macro_f1") & (table["attack"] == "none")].set_index("split")
    assert (rows["n"]["test"], rows["n"]["test_clean"]) == (20, 19)
    leaked = table[(table["split"] == "leaks/test")].set_index("metric")
    found = {"leaked_exact": 0, "leaked_normalised": 0, "leaked_contained": 1}
    of_splits = {"in_train_exact": 0, "in_train": 1, "in_dev_exact": 0, "in_dev": 0}
    assert leaked["value"].to_dict() == found | of_splits
