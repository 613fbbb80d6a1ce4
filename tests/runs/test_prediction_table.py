"""A run's table of predictions: its scores follow from the table, which outlives the store."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from world import TAGGING, WORDS, pipeline, sentence, tagged, write_jsonl

from adapt import gc, results
from adapt.config import AttackConfig
from adapt.data import tasks
from adapt.data.kinds.classification import Example
from adapt.runs.prediction_table import prediction_table, text_hash

TEXTS = ["evaluate.text.recipes=[embedding,typos]", "budget.text_attack_examples=6", "budget.text_attack_queries=40"]
ROBUST = ["evaluate=robust", "evaluate.attack.epsilons=[0.1,2,20]"]


@pytest.fixture(scope="module")
def leaky(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's task, with its first two training texts in test as well."""
    folder = shutil.copytree(world / "task", tmp_path_factory.mktemp("leaky") / "task")
    rows = [{"text": sentence(label, 0), "label": label} for label in WORDS]
    rows += [{"text": sentence(label, number), "label": label} for number in range(200, 210) for label in WORDS]
    write_jsonl(folder / "test.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def finished(world: Path, leaky: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Runs under attack on embeddings, under attacks on the text, and of TF-IDF."""
    root = tmp_path_factory.mktemp("answers")
    arms = {
        "robust": [*ROBUST, "budget.attack_examples=8", "budget.epochs=2"],
        "text": ["budget.epochs=2", "evaluate=text", *TEXTS],
        "tfidf": ["model=tfidf", "model.path=null"],
    }
    return root, {name: pipeline(world, root, f"task.path={leaky}", *more).run() for name, more in arms.items()}


def measured(root: Path, run_id: str) -> dict[tuple[str, str, float, str], float]:
    table = results.load(root)
    mine = table[table["run_id"] == run_id]
    return {(row.split, row.attack, row.attack_epsilon, row.metric): row.value for row in mine.itertuples()}


@pytest.mark.parametrize("arm", ["robust", "text", "tfidf"])
def test_the_rows_of_test_and_of_its_clean_part_follow_from_them(finished: tuple, arm: str) -> None:
    root, runs = finished
    predictions, rows = results.predictions(root, runs[arm]), measured(root, runs[arm])
    assert predictions["clean"].sum() == 20 and len(predictions) == 22
    for split, part in (("test", predictions), ("test_clean", predictions[predictions["clean"]])):
        macro = f1_score(part["gold"], part["predicted"], labels=list(WORDS), average="macro", zero_division=0.0)
        assert rows[split, "none", 0.0, "macro_f1"] == pytest.approx(macro)
        assert rows[split, "none", 0.0, "accuracy"] == pytest.approx((part["gold"] == part["predicted"]).mean())
    assert (predictions["correct"] == (predictions["gold"] == predictions["predicted"])).all()
    logits = predictions[[f"logit:{label}" for label in predictions["gold"].cat.categories]]
    assert (logits.to_numpy().argmax(-1) == predictions["predicted"].cat.codes).all()


def test_the_rows_under_attack_follow_from_them(finished: tuple) -> None:
    root, runs = finished
    predictions, rows = results.predictions(root, runs["robust"]), measured(root, runs["robust"])
    radii = [epsilon for _, attack, epsilon, metric in rows if attack == "pgd" and metric == "accuracy" and epsilon]
    assert sorted(radii) == [0.1, 2, 20]
    accuracy = []
    for epsilon in radii:
        answered = predictions[f"answer@{epsilon:g}"]
        assert answered.isna().tolist() == [False] * 8 + [True] * 14
        accuracy.append(float((answered == predictions["gold"])[:8].mean()))
        assert rows["test", "pgd", epsilon, "accuracy"] == accuracy[-1]
    assert accuracy[0] > accuracy[-1]  # otherwise this would test nothing
    predictions, rows = results.predictions(root, runs["text"]), measured(root, runs["text"])
    for recipe in ("embedding", "typos"):
        answered = predictions[f"answer@text:{recipe}"]
        assert rows["test", f"text:{recipe}", 0.3, "accuracy"] == float((answered == predictions["gold"])[:6].mean())


def test_an_example_is_known_by_its_text(finished: tuple) -> None:
    root, runs = finished
    (one, other) = (results.predictions(root, runs[arm]) for arm in ("robust", "tfidf"))
    assert one["text_hash"].tolist() == other["text_hash"].tolist() and one["text_hash"].nunique() == 22
    known = hashlib.sha256(json.dumps([sentence("animal", 200)]).encode()).hexdigest()[:16]
    place = one.index[one["text_hash"] == known]
    assert len(place) == 1 and one.loc[place[0], "gold"] == "animal"
    assert one["example"].tolist() == list(range(22)) and set(one["word"]) == {0}


def test_they_outlive_what_no_run_needs_and_the_store(world: Path, leaky: Path, finished: tuple) -> None:
    root, runs = finished
    file = root / "predictions" / f"{runs['tfidf']}.parquet"
    before = file.read_bytes()
    gc.main(["--root", str(root), "--delete"])
    assert file.read_bytes() == before
    file.unlink()  # as for a run of older code
    with pytest.raises(FileNotFoundError, match="no predictions of this run; run its command again to write them"):
        results.predictions(root, runs["tfidf"])
    stages = {path: path.stat().st_mtime_ns for path in root.glob("store/*/*/stage.json")}
    pipeline(world, root, f"task.path={leaky}", "model=tfidf", "model.path=null").run()
    assert file.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in root.glob("store/*/*/stage.json")} == stages


def test_a_tagger_has_one_row_per_word(world: Path, tmp_path: Path) -> None:
    for split, numbers in {"train": range(40), "dev": range(300, 306), "test": range(400, 408)}.items():
        write_jsonl(tmp_path / "task" / f"{split}.jsonl", [tagged(number) for number in numbers])
    settings = [f"task.path={tmp_path / 'task'}", *TAGGING, "evaluate=clean", "budget.epochs=1"]
    run_id = pipeline(world, tmp_path, *settings).run()
    predictions, rows = results.predictions(tmp_path, run_id), measured(tmp_path, run_id)
    assert rows["test", "none", 0.0, "token_accuracy"] == pytest.approx(predictions["correct"].mean())
    words = [len(tagged(number)["tokens"]) for number in range(400, 408)]
    assert sorted(predictions.groupby("example")["word"].max() + 1) == sorted(words) and len(predictions) == sum(words)
    assert list(predictions.columns)[-1] == "clean"  # no logits are kept


def ensemble(*members: str) -> AttackConfig:
    return AttackConfig(epsilons=[0.5, 1.0], members=list(members))  # type: ignore[call-arg]


def test_under_attack_by_hand(tmp_path: Path) -> None:
    """Three examples; pgd was run at .5 and 1 and found a point of norm .4 for the first at radius 1 only."""
    task = tmp_path / "task"
    task.mkdir()
    examples = [Example(i, text, label) for i, (text, label) in enumerate([("a", 0), ("b", 1), ("c", 1)])]
    tasks.write_task(tasks.Task(["no", "yes"], "accuracy", dict.fromkeys(tasks.SPLITS, examples)), task)
    np.save(tmp_path / "test_logits.npy", np.array([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]], dtype="float32"))
    pd.DataFrame(
        {
            **{"label": [0, 1], "clean_answer": [0, 0], "answer": [1, 0], "epsilon": [0.5, 0.0]},
            **{"pgd.epsilon": [1.0, 0.0], "apgd_ce.epsilon": [0.5, 0.0]},
        }
    ).to_parquet(tmp_path / "attacked.parquet")
    single = prediction_table(tmp_path, task, [0, 2], ensemble("pgd"))
    assert single["predicted"].tolist() == ["no", "no", "yes"] and single["clean"].tolist() == [True, False, True]
    assert single["answer@0.5"].tolist()[:2] == ["no", "no"] and single["answer@1"].tolist()[:2] == ["yes", "no"]
    assert single[["answer@0.5", "answer@1"]].isna().all(axis=1).tolist() == [False, False, True]
    both = prediction_table(tmp_path, task, [], ensemble("pgd", "apgd_ce"))
    assert both["answer@0.5"].tolist()[:2] == ["yes", "no"]
    assert both["text_hash"].tolist() == [text_hash(["a"]), text_hash(["b"]), text_hash(["c"])]
