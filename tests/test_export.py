"""Exports of fine-tuned adapters: merged ones answer alike, quantised ones are measured, others are refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModel, AutoModelForSequenceClassification
from world import pipeline, sentence, write_jsonl

from adapt import export, predict, results
from adapt.data import tasks
from adapt.data.kinds.classification import Example
from adapt.models import loading
from adapt.models.heads import HEAD_NOTE
from adapt.runs import finetuned


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    root = tmp_path_factory.mktemp("exported")
    chosen = {"cls": ["peft=lora", "finetune.pooling=cls"], "mean": ["peft=lora", "finetune.pooling=mean"],
              "prompt": ["peft=prompt"]}  # fmt: skip
    return root, {name: pipeline(world, root, "pretrain=[]", *words).run() for name, words in chosen.items()}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_merged_export_scores_as_the_run_did(finished, pooling: str, tmp_path: Path, capsys) -> None:
    root, runs = finished
    export.main([runs[pooling][:12], str(tmp_path / "out"), "--root", str(root)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [json.loads(line) for line in (tmp_path / "out" / export.MEASURES).read_text().splitlines()]
    kept = results.load(root)
    known = kept[kept["run_id"] == runs[pooling]].iloc[0]
    factors = ("run_id", "task", "model", "peft", "pretrain")
    assert all({name: row[name] for name in factors} == known[list(factors)].to_dict() for row in rows)
    assert {row["seed"] for row in rows} == {known["seed"]}
    kept = kept[(kept["run_id"] == runs[pooling]) & (kept["attack"] == "none")].set_index(["split", "metric"])["value"]
    before, after = (
        {(row["split"], row["metric"]): row["value"] for row in rows if row["export"] == name}
        for name in ("none", "merged")
    )
    scored = {key for key in before if key[1] != "checkpoint_bytes"}
    assert {split for split, _ in scored} == {"dev", "test"} and ("test", "accuracy") in scored
    for key in scored:
        assert before[key] == after[key] == pytest.approx(kept[key], abs=1e-12)
    assert not (tmp_path / "out" / "adapters").exists()
    opened = (AutoModel if pooling == "mean" else AutoModelForSequenceClassification).from_pretrained(tmp_path / "out")
    assert not any("lora" in name for name, _ in opened.named_parameters())


def test_a_merged_export_answers_as_the_run(finished, tmp_path: Path, capsys) -> None:
    root, runs = finished
    write_jsonl(tmp_path / "texts.jsonl", [{"text": sentence("animal", number)} for number in range(5)])
    export.export(finetuned.finetuned_folder(runs["cls"], root), tmp_path / "out", "merged")
    answers = []
    for model in (runs["cls"], str(tmp_path / "out")):
        predict.main([model, str(tmp_path / "texts.jsonl"), "--root", str(root)])
        answers.append([json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()])
    for one, other in zip(*answers, strict=True):
        assert one == pytest.approx(other, abs=2e-6)


@pytest.mark.parametrize("kind", ["int8", "nf4"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_quantised_export_is_smaller_and_near(finished, pooling: str, kind: str, tmp_path: Path, capsys) -> None:
    root, runs = finished
    given = [runs[pooling], str(tmp_path / "out"), "--root", str(root), "--kind", kind]
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(SystemExit, match=r"adapt\[quantized\]"):
            export.main(given)
        assert not (tmp_path / "out").exists()
        return
    export.main(given)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    values = {(row["export"], row["split"], row["metric"]): row["value"] for row in rows}
    for split in ("dev", "test"):
        assert values[kind, split, "accuracy"] == pytest.approx(values["none", split, "accuracy"], abs=0.1)
    model, labels = loading.load_classifier(tmp_path / "out")
    inside = [m for name, m in model.encoder.named_modules() if name.endswith("attention.self.query")]
    assert inside and all(type(m).__module__.startswith("bitsandbytes") for m in inside)
    heads = [m for name, m in model.named_modules() if name.endswith(("classifier", "pooler.dense", "head.out"))]
    assert heads and not any(type(m).__module__.startswith("bitsandbytes") for m in heads)
    assert labels == ["animal", "metal"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("prompt", "changes no weight of the base"), ("nobody", "no run in"), ("mean", "not an empty folder")],
)
def test_what_cannot_be_exported_is_one_sentence(finished, name: str, words: str, tmp_path: Path) -> None:
    root, runs = finished
    if name == "mean":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(SystemExit, match=words):
        export.main([runs.get(name, name), str(tmp_path / "out"), "--root", str(root)])
    assert [path.name for path in tmp_path.glob("out/*")] == (["mine"] if name == "mean" else [])


@pytest.mark.parametrize(("name", "words"), [("nowhere", "no folder of a task stage"), ("other", "has other labels")])
def test_a_wrong_task_is_refused_before_anything_is_written(finished, name: str, words: str, tmp_path: Path) -> None:
    """Otherwise a second try would find the folder there."""
    root, runs = finished
    given = [runs["mean"], str(tmp_path / "new" / "out"), "--root", str(root)]
    examples = [Example(number, "a cat", 0) for number in range(2)]
    (tmp_path / "other").mkdir()
    tasks.write_task(tasks.Task(["x", "y"], "accuracy", dict.fromkeys(tasks.SPLITS, examples)), tmp_path / "other")
    with pytest.raises(SystemExit, match=f"--task=.*{name}: {words}"):
        export.main([*given, "--task", str(tmp_path / name)])
    assert not (tmp_path / "new").exists()


def test_an_export_that_cannot_be_measured_is_not_placed(finished, tmp_path: Path, monkeypatch) -> None:
    root, runs = finished

    def killed(folder: Path, exported: Path, *_: object) -> list[dict]:
        assert (exported / "config.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "measures", killed)
    with pytest.raises(KeyboardInterrupt):
        export.main([runs["mean"], str(tmp_path / "new" / "out"), "--root", str(root)])
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("torn", ['{"labels": ["animal", ', "[]", "{}"])
def test_a_torn_note_of_the_head_is_one_sentence(finished, torn: str, tmp_path: Path) -> None:
    root, runs = finished
    folder = shutil.copytree(finetuned.finetuned_folder(runs["mean"], root), tmp_path / "model")
    (folder / "stage.json").unlink()  # without checksums, which would find the fault first
    (folder / HEAD_NOTE).write_text(torn)
    write_jsonl(tmp_path / "texts.jsonl", [{"text": "a cat"}])
    for command in (export.main, predict.main):
        last = tmp_path / ("out" if command is export.main else "texts.jsonl")
        with pytest.raises(SystemExit, match="head.json: broken"):
            command([str(folder), str(last)])
    assert not (tmp_path / "out").exists()
