"""The pretraining stage: its steps, the text that it reads, its snapshots and rows, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from world import sentence

from adapt.assets import train
from adapt.config import ConfigError, PretrainConfig, RuntimeConfig
from adapt.data.tokens import tokens
from adapt.data.tokens.pieces import SequenceFormat
from adapt.models import loading
from adapt.stages.pretrain import pretrain

RUNTIME = RuntimeConfig(
    device="cpu", checkpoint_seconds=1e9, progress=False, trackers=[], gradient_checkpointing=False
)  # fmt: skip


def config(**changes: Any) -> PretrainConfig:
    small = replace(
        train.RECIPE,
        optimizer=replace(train.RECIPE.optimizer, precision="no"),
        **{"steps": 6, "batch_size": 8, "micro_batch_size": 8, "evaluations": 3, "heldout_sequences": 10},
    )
    return replace(small, **changes)


@pytest.fixture(scope="module")
def inputs(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The world's model, with two tokenised texts."""
    folder, tokenizer = tmp_path_factory.mktemp("tokens"), loading.load_tokenizer(world / "model")
    for name, label, count in (("text", "animal", 60), ("mix.general", "metal", 30)):
        parts = {"train": range(count), "heldout": range(500, 512)}
        texts = {part: [sentence(label, number) for number in numbers] for part, numbers in parts.items()}
        (folder / name).mkdir()
        tokens.write_folder(folder / name, tokenizer, texts, SequenceFormat(32, packed=False))
    return {"model": world / "model", **{name: folder / name for name in ("text", "mix.general")}}


def run(
    cfg: PretrainConfig, inputs: dict[str, Path], out: Path, snapshots: bool = False
) -> dict[tuple[str, str], dict[str, Any]]:
    out.mkdir(exist_ok=True)
    rows = pretrain(cfg, inputs, out, RUNTIME, adversary=train.PLAIN, snapshots=snapshots)
    return {(row["split"], row["metric"]): row for row in rows}


def test_a_stage_after_another_trains_all_its_steps(inputs: dict[str, Path], tmp_path: Path) -> None:
    first = run(config(steps=4), inputs, tmp_path / "dapt")
    second = run(config(name="tapt", steps=7), {**inputs, "model": tmp_path / "dapt"}, tmp_path / "tapt")
    assert first["train", "steps"]["value"] == 4 and second["train", "steps"]["value"] == 7
    assert second["heldout", "mlm_loss_before"]["value"] == first["heldout", "mlm_loss"]["value"]  # its weights


def test_the_rows_of_a_stage(inputs: dict[str, Path], tmp_path: Path) -> None:
    rows = run(config(mix={"general": 0.25}), inputs, tmp_path / "out")
    assert rows["text", "documents"]["value"] == 60 and rows["mix.general", "sequences"]["value"] == 30
    assert rows["text", "tokens"]["value"] == tokens.load_tokens(inputs["text"]).train.lengths.sum()
    assert (rows["text", "share"]["value"], rows["mix.general", "share"]["value"]) == (0.75, 0.25)
    assert rows["heldout", "mlm_document_loss"]["n"] == 10 < rows["heldout", "mlm_loss"]["n"]
    assert rows["heldout", "mlm_loss"]["value"] < rows["heldout", "mlm_loss_before"]["value"]
    assert rows["heldout", "mlm_document_loss"]["value"] < rows["heldout", "mlm_document_loss_before"]["value"]


def test_replay_changes_what_is_trained_and_the_same_seed_does_not(inputs: dict[str, Path], tmp_path: Path) -> None:
    mixed = config(mix={"general": 0.25})
    for name, cfg in {"one": mixed, "again": mixed, "plain": config()}.items():
        run(cfg, inputs, tmp_path / name)
    one, again, plain = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "again", "plain"))
    assert one == again != plain


def test_snapshots_hold_the_model_of_each_evaluation(inputs: dict[str, Path], tmp_path: Path) -> None:
    run(config(), inputs, tmp_path / "out", snapshots=True)
    folders = sorted((tmp_path / "out" / "snapshots").iterdir())
    assert [folder.name for folder in folders] == ["step_0", "step_2", "step_4", "step_6"]
    start, last = (loading.load_encoder(folder).state_dict() for folder in (folders[0], folders[-1]))
    before = loading.load_encoder(inputs["model"]).state_dict()
    assert all(torch.equal(start[name], before[name]) for name in before)
    assert any(not torch.equal(last[name], before[name]) for name in before)
    loading.load_tokenizer(folders[-1])
    run(config(), inputs, tmp_path / "none")
    assert not (tmp_path / "none" / "snapshots").exists()
    assert (tmp_path / "none" / "model.safetensors").read_bytes() == (
        tmp_path / "out" / "model.safetensors"
    ).read_bytes()  # snapshots do not change the model


def test_tokens_of_another_vocabulary_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = loading.load_tokenizer(inputs["model"])
    tokenizer.add_tokens(["quokka"])
    other = tmp_path / "other"
    other.mkdir()
    tokens.write_folder(other, tokenizer, {"train": ["a quokka"], "heldout": ["the"]}, SequenceFormat(32, packed=False))
    with pytest.raises(ConfigError, match=r"pretrain\.base: the tokens of text are of another vocabulary"):
        run(config(), {**inputs, "text": other}, tmp_path / "out")
