"""Adapters in the chain: rows, keys, resume, AdaLoRA's ranks, other tasks and adversaries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from adapted import classification, classifier, composed, needs, option, train
from adversaries import make_batch
from world import pipeline

from adapt import results, training
from adapt.adapters import folder as files
from adapt.adapters.allocation import MEMORY
from adapt.finetune_chain import peft_identity
from adapt.plan import ordered
from adapt.predict import answer, export


def values(root: Path, run_id: str) -> dict[tuple[str, str], float]:
    table = results.load(root)
    mine = table[(table["run_id"] == run_id) & (table["attack"] == "none")]
    return mine.set_index(["split", "metric"])["value"].to_dict()


@pytest.fixture(scope="module")
def adapted(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """LoRA in both pretraining stages, stacked, and once more in fine-tuning, under FGM."""
    root = tmp_path_factory.mktemp("adapted")
    chain = ["pretrain=[dapt,tapt]", "peft@pretrain_peft=lora", "pretrain_peft.inherit=stack", "peft=lora"]
    return root, pipeline(world, root, *chain, "peft.inherit=stack", "adversary=fgm").run()


def test_rows_say_what_was_trained_and_what_must_be_kept(adapted: tuple[Path, str]) -> None:
    root, run_id = adapted
    found = values(root, run_id)
    lora = 2 * 2 * 8 * (16 + 16)  # layers, query and value, r, in and out
    assert found["dapt/train", "trainable_parameters"] == found["tapt/train", "trainable_parameters"] == lora
    assert found["train", "trainable_parameters"] == lora + 2 * 16 + 2
    assert found["dapt/train", "checkpoint_bytes"] > 4 * lora
    assert found["tapt/train", "checkpoint_bytes"] == 2 * found["dapt/train", "checkpoint_bytes"]
    assert found["train", "checkpoint_bytes"] > found["tapt/train", "checkpoint_bytes"] + 4 * (lora + 34)
    for split in ("dapt/train", "train"):
        assert found[split, "peak_memory_bytes"] > 0 and found[split, "examples_per_second"] > 0
    table = results.load(root)
    assert set(table["peft"]) == {"lora"} and set(table["pretrain_peft.name"]) == {"lora"}
    assert "model.modules.attention" not in table


def test_the_store_keeps_one_base_for_all_of_the_chain(adapted: tuple[Path, str], world: Path) -> None:
    root, _ = adapted
    bases = list(root.glob("store/*/*/model.safetensors"))
    assert len(bases) == 3 and all(base.samefile(world / "model" / "model.safetensors") for base in bases)
    (finetuned,) = root.glob("store/finetune/*/adapters")
    assert sorted(path.name for path in finetuned.iterdir()) == ["0", "1", "2", files.NOTE]


def test_an_export_answers_as_the_run(adapted: tuple[Path, str], tmp_path: Path) -> None:
    root, _ = adapted
    (folder,) = (path.parent for path in root.glob("store/finetune/*/adapters"))
    export(folder, tmp_path / "out")
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "the old cat and iron"}) + "\n")
    written = []
    for place in (folder, tmp_path / "out"):
        with (tmp_path / f"{place.name}.txt").open("w+") as out:
            answer(place, tmp_path / "texts.jsonl", out)
            out.seek(0)
            written.append(out.read())
    assert written[0] == written[1] != ""


def test_what_comes_before_fine_tuning_is_the_same_stage_whatever_it_trains(
    method: str, world: Path, tmp_path: Path
) -> None:
    needs(option(method))

    def before(name: str) -> list[tuple]:
        chain = pipeline(world, tmp_path, "pretrain=[tapt]", "evaluate=adaptation", f"peft={name}")
        stages = [stage for stage in ordered(chain.stages[-1]) if stage.kind not in ("finetune", "evaluate")]
        assert {"pretrain", "domains", "words"} <= {stage.kind for stage in stages}
        return [(stage.label, stage.modules, stage.config) for stage in stages]

    assert before(method) == before("full")


def test_a_stage_that_trains_everything_has_the_key_that_it_had() -> None:
    cfg = composed("model.path=x")
    assert peft_identity(cfg, cfg.peft) == peft_identity(cfg, cfg.pretrain_peft) == {}
    lora = composed("model.path=x", "peft=lora")
    assert peft_identity(lora, lora.peft)["peft"]["method"]["target_modules"] == ["query", "value"]


@pytest.mark.parametrize("child", ["full", "linear_probe"])
def test_what_a_prompt_learned_reaches_the_next_stage_or_not(child: str, world: Path, tmp_path: Path) -> None:
    more = ["peft.inherit=drop"] if child == "full" else ["finetune=linear_probe", "peft.inherit=drop"]
    run_id = pipeline(world, tmp_path, "pretrain=[dapt]", "peft@pretrain_peft=prompt", "evaluate=clean", *more).run()
    assert values(tmp_path, run_id)["test", "accuracy"] > 0


def test_adalora_resumes_to_the_bit(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = ["peft=adalora", "peft.method.init_r=4", "peft.method.target_r=2", "evaluate=clean", "budget.epochs=3"]
    chain += ["runtime.checkpoint_seconds=0"]
    whole = pipeline(world, tmp_path / "whole", *chain)
    whole.run()

    class Stopped(Exception):
        pass

    advance, seen = training.advance, []

    def stop(progress, step, loss, seconds):
        advance(progress, step, loss, seconds)
        seen.append(progress.step)
        if len(seen) == 8:
            raise Stopped

    monkeypatch.setattr(training, "advance", stop)
    with pytest.raises(Stopped):
        pipeline(world, tmp_path / "cut", *chain).run()
    (saved,) = (tmp_path / "cut").glob("store/finetune/.*/checkpoint/*latest.pt")
    state = torch.load(saved, weights_only=True)
    assert all("adapter0" in name or name.startswith("head.") for name in state["model"])  # nothing that is frozen
    assert state["memory"][MEMORY]["exp_avg_ipt"]
    pipeline(world, tmp_path / "cut", *chain).run()
    assert len(seen) > 8 and seen[8] == seen[7]  # it went on, from the step before
    weights = [next((tmp_path / name).glob("store/finetune/*/adapters/0/*.safetensors")) for name in ("whole", "cut")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("skipped", [[], [3], [14]])
def test_adalora_ends_with_target_r_ranks_on_average(
    skipped: list[int], tmp_path: Path, bases: dict[str, Path]
) -> None:
    """Though fp16 may skip an update, such as that which settles the ranks: 20 less tfinal, 30% of them."""
    model = classifier(bases["bert"], option("adalora"), tmp_path)
    train(model, classification(make_batch(6)), steps=20, skipped=skipped)
    left = sum(int((weight != 0).sum()) for name, weight in model.named_parameters() if "lora_E" in name)
    assert left == 2 * 12  # target_r of 2 layers of 6 matrices
