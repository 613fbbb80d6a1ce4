"""A child takes weights and tokenizer from its parent and nothing else; a stage keeps its best evaluation's weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from world import pipeline

from adapt.models.loading import load_masked_lm
from adapt.store.entries import Entry

CONF = Path(__file__).parents[2] / "conf"


def pretrained(world: Path, root: Path, *more: str, number: int = 0) -> Entry:
    """The pretraining stage of that number in the chain, built."""
    chain = pipeline(world, root, *more)
    return chain.build([stage for stage in chain.stages if stage.kind == "pretrain"][number])


def value(entry: Entry, metric: str) -> float:
    (found,) = [row["value"] for row in entry.manifest["rows"] if row["metric"] == metric and row["split"] == "train"]
    return found


def spoil(folder: Path) -> None:
    """What a trainer leaves in a checkpoint's folder: a finished schedule, an optimizer that ruins the weights."""
    model, _ = load_masked_lm(folder, dropout=0.0)
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=1e-9)
    for parameter in model.model.parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(12500.0),
            "exp_avg": torch.full_like(parameter, 1e3),
            "exp_avg_sq": torch.full_like(parameter, 1e-8),
        }
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(
        {"last_epoch": 12500, "_step_count": 12501, "base_lrs": [5e-4], "_last_lr": [0.0]}, folder / "scheduler.pt"
    )
    torch.save({"cpu": torch.get_rng_state()}, folder / "rng_state.pth")
    torch.save({"learning_rate": 0.0}, folder / "training_args.bin")
    state = {"global_step": 12500, "max_steps": 12500, "epoch": 1.0, "best_model_checkpoint": "checkpoint-12500"}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    (folder / "checkpoint").mkdir()
    torch.save({"progress": {"step": 12500}}, folder / "checkpoint" / "dapt.latest.pt")


def test_what_a_trainer_left_in_the_parents_folder_changes_nothing(world: Path, tmp_path: Path) -> None:
    parent = tmp_path / "checkpoint-12500"
    shutil.copytree(world / "model", parent)
    spoil(parent)
    clean = pretrained(world, tmp_path / "clean", "pretrain=[dapt]")
    spoilt = pretrained(world, tmp_path / "spoilt", "pretrain=[dapt]", f"model.path={parent}")
    assert spoilt.folder.name == clean.folder.name  # the key
    for name in ("model.safetensors", "tokenizer.json", "training.json"):
        assert (spoilt.folder / name).read_bytes() == (clean.folder / name).read_bytes()
    assert value(spoilt, "steps") == 3


def test_other_weights_or_tokens_are_another_parent(world: Path, tmp_path: Path) -> None:
    def key(folder: Path) -> str:
        chain = pipeline(world, tmp_path, f"model.path={folder}")
        return chain.key(chain.stages[0])

    same, other = tmp_path / "same", tmp_path / "other"
    shutil.copytree(world / "model", same)
    shutil.copytree(world / "model", other)
    weights = (other / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert key(same) == key(world / "model") != key(other)
    tokenizer = json.loads((same / "tokenizer.json").read_text())
    (same / "tokenizer.json").write_text(json.dumps({**tokenizer, "truncation": None, "version": "1.1"}))
    assert key(same) != key(world / "model")


def test_tapt_after_dapt_trains_all_of_its_steps_from_dapts_weights(world: Path, tmp_path: Path) -> None:
    more = ("pretrain=[dapt,tapt]", "budget.dapt_steps=6", "budget.tapt_steps=4")
    dapt = pretrained(world, tmp_path, *more)
    tapt = pretrained(world, tmp_path, *more, number=1)
    assert (value(dapt, "steps"), value(tapt, "steps")) == (6, 4)
    history = json.loads((tapt.folder / "training.json").read_text())["history"]
    assert [entry["step"] for entry in history if "loss" in entry] == [1, 2, 3, 4]
    assert (tapt.folder / "model.safetensors").read_bytes() != (dapt.folder / "model.safetensors").read_bytes()
    tapt_only = pretrained(world, tmp_path, "pretrain=[tapt]", "budget.tapt_steps=4")
    assert history[0] != json.loads((tapt_only.folder / "training.json").read_text())["history"][0]
    assert not (dapt.folder / "checkpoint").exists()  # so its optimizer state cannot be used


# A rate at which the loss on held-out text falls at first and rises afterwards.
RISING = (
    *("pretrain=[dapt]", "budget.evaluations=12", "pretrain.dapt.optimizer.schedule=constant"),
    *("pretrain.dapt.optimizer.warmup_fraction=0", "pretrain.dapt.optimizer.learning_rate=0.03"),
)


def measured(entry: Entry) -> dict[int, float]:
    """The held-out losses of the record, by step."""
    record = json.loads((entry.folder / "training.json").read_text())
    return {found["step"]: found["measured"] for found in record["history"] if "measured" in found}


@pytest.fixture(scope="module")
def risen(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Entry:
    return pretrained(world, tmp_path_factory.mktemp("risen"), *RISING, "budget.dapt_steps=12")


def test_the_weights_kept_are_those_of_the_best_evaluation(risen: Entry, world: Path, tmp_path: Path) -> None:
    losses = measured(risen)
    best = min(losses, key=lambda step: losses[step])
    assert 0 < best < 12 and losses[12] > losses[best] + 0.01
    record = json.loads((risen.folder / "training.json").read_text())
    assert record["best_step"] == best
    stopped = pretrained(world, tmp_path, *RISING, f"budget.dapt_steps={best}")  # the same training, up to that step
    assert (stopped.folder / "model.safetensors").read_bytes() == (risen.folder / "model.safetensors").read_bytes()


def test_the_whole_trajectory_is_kept(risen: Entry) -> None:
    history = json.loads((risen.folder / "training.json").read_text())["history"]
    assert [entry["step"] for entry in history if "loss" in entry] == list(range(1, 13))
    assert sorted(measured(risen)) == list(range(13))  # before the first step too
    (row,) = [row for row in risen.manifest["rows"] if row["metric"] == "mlm_loss"]
    assert row["value"] == pytest.approx(min(measured(risen).values()), rel=1e-6)


def test_early_stopping_keeps_the_same_weights_for_fewer_steps(risen: Entry, world: Path, tmp_path: Path) -> None:
    losses = measured(risen)
    early = pretrained(world, tmp_path, *RISING, "budget.dapt_steps=12", "pretrain.dapt.patience=2")
    seen: dict[str, Any] = {"best": losses[0], "stale": 0, "step": 0}
    while seen["stale"] < 2:  # patience by hand, over the trajectory of the run that never stops
        seen["step"] += 1
        better = losses[seen["step"]] < seen["best"]
        seen.update(best=losses[seen["step"]], stale=0) if better else seen.update(stale=seen["stale"] + 1)
    assert measured(early) == {step: loss for step, loss in losses.items() if step <= seen["step"]}
    assert value(early, "steps") == seen["step"] < 12
