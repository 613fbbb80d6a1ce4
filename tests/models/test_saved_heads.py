"""A saved model answers alike wherever it is opened: the same texts, the same softmax, and only if it is whole."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, pipeline
from world import WORDS, sentence, write_jsonl

from adapt import predict
from adapt.config import ConfigError
from adapt.export import export
from adapt.models import loading
from adapt.runs.finetuned import finetuned_folder, tokens_read
from adapt.store.entries import SUMS, fault_of, write_sums

LABELS = [*sorted(WORDS), "neither"]
TEXTS = [sentence(LABELS[0], 1), sentence(LABELS[1], 2), " ".join(sentence(LABELS[0], n) for n in range(9))]


def model_of(base: Path, folder: Path, max_length: int | None = 12, **config: object) -> Path:
    """A classifier with a random head, as fine-tuning saves it, on a base whose config has these settings."""
    shutil.copytree(base, folder.with_name(f"{folder.name}-base"))
    file = folder.with_name(f"{folder.name}-base") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    torch.manual_seed(0)
    model = loading.new_classifier(file.parent, labels=LABELS, pooling="cls", dropout=0.0)
    model.model.classifier.weight.data *= 50
    tokenizer = loading.load_tokenizer(file.parent)
    tokenizer(TEXTS, truncation=True, max_length=7, padding=True)  # leaves its mark in a fast tokenizer
    folder.mkdir()
    model.save(folder, tokenizer, LABELS, max_length=max_length)
    return folder


def predicted(folder: Path, at: Path) -> list[dict[str, float]]:
    write_jsonl(at / "texts.jsonl", [{"text": text} for text in TEXTS])
    out = io.StringIO()
    predict.answer(folder, at / "texts.jsonl", out)
    return [json.loads(line)["probabilities"] for line in out.getvalue().splitlines()]


OF_ANOTHER_LIFE = {
    "several labels at once": {"problem_type": "multi_label_classification"},
    "regression": {"problem_type": "regression"},
    "five labels of its own": {"id2label": {str(n): f"old{n}" for n in range(5)}, "label2id": {"old1": 1}},
    "settings of a task": {"task_specific_params": {"text-classification": {"problem_type": "regression"}}},
}


@pytest.mark.parametrize("life", OF_ANOTHER_LIFE)
def test_transformers_pipeline_answers_as_predict(life: str, world: Path, tmp_path: Path) -> None:
    folder = model_of(world / "model", tmp_path / "m", **OF_ANOTHER_LIFE[life])
    ours = predicted(folder, tmp_path)
    theirs = pipeline("text-classification", model=str(folder), top_k=None)(TEXTS, truncation=True)
    for mine, other in zip(ours, theirs, strict=True):
        assert {one["label"]: one["score"] for one in other} == pytest.approx(mine, abs=1e-5)
    config = AutoConfig.from_pretrained(folder)
    assert list(config.id2label.values()) == LABELS and config.num_labels == 3


def test_an_exported_tokenizer_neither_cuts_nor_pads_and_says_its_length(world: Path, tmp_path: Path) -> None:
    folder = model_of(world / "model", tmp_path / "m")
    whole = json.loads((folder / "tokenizer.json").read_text())
    assert whole["truncation"] is None and whole["padding"] is None
    tokenizer = loading.load_tokenizer(folder)
    assert tokenizer.model_max_length == 12 and len(tokenizer(TEXTS[2])["input_ids"]) > 12


@pytest.mark.parametrize(("length", "read"), [(12, 12), (40, 40), (None, 512)])
def test_predict_reads_as_many_tokens_as_training_did(
    length: int | None, read: int, world: Path, tmp_path: Path
) -> None:
    folder = model_of(world / "model", tmp_path / "m", max_length=length)
    model, _ = loading.load_classifier(folder)
    note = json.loads((folder / "head.json").read_text())
    assert note.get("max_length") == length
    assert tokens_read(note, model.encoder) == min(read, loading.most_tokens(model.encoder) or read)


def test_a_changed_file_of_an_export_is_refused(world: Path, tmp_path: Path) -> None:
    folder = model_of(world / "model", tmp_path / "m")
    export(folder, tmp_path / "exported", "merged")
    predict.export(folder, tmp_path / "copied")
    for place in (tmp_path / "exported", tmp_path / "copied"):
        assert fault_of(place) is None and finetuned_folder(str(place), tmp_path) == place
        assert json.loads((place / "head.json").read_text())["max_length"] == 12
        for name in ("model.safetensors", "head.json", "tokenizer.json"):
            content = (place / name).read_bytes()
            (place / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
            with pytest.raises(ConfigError, match=f"the content of {name} is not what was written"):
                finetuned_folder(str(place), tmp_path)
            (place / name).write_bytes(content)
        (place / "README.md").write_text("a card")  # what is added is nobody's fault
        assert finetuned_folder(str(place), tmp_path) == place
        (place / "config.json").unlink()
        with pytest.raises(ConfigError, match=r"config.json is missing"):
            finetuned_folder(str(place), tmp_path)
        (place / SUMS).write_text("{}")
        with pytest.raises(ConfigError, match=f"unreadable {SUMS}"):
            finetuned_folder(str(place), tmp_path)


def test_checksums_are_of_all_files_but_themselves(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    write_sums(tmp_path)
    write_sums(tmp_path)
    assert list(json.loads((tmp_path / SUMS).read_text())["files"]) == ["a"]
