"""Adapters in the chain: rows, keys, resume, AdaLoRA's ranks, other tasks and adversaries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from adapted import classification, classifier, composed, needs, option, train
from adversaries import make_batch
from world import pipeline

from adapt import results
from adapt.adapters import folder as files
from adapt.adapters.allocation import MEMORY
from adapt.chain.finetuning import peft_settings
from adapt.chain.stage import ordered
from adapt.predict import answer, export
from adapt.runs.labels import science
from adapt.training import loop, retention

OWN = "finetune.head_learning_rate=5e-3"


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
    by_metric = values(root, run_id)
    lora = 2 * 2 * 8 * (16 + 16)  # layers, query and value, r, in and out
    assert by_metric["dapt/train", "trainable_parameters"] == by_metric["tapt/train", "trainable_parameters"] == lora
    assert by_metric["train", "trainable_parameters"] == lora + 2 * 16 + 2
    assert by_metric["dapt/train", "checkpoint_bytes"] > 4 * lora
    assert by_metric["tapt/train", "checkpoint_bytes"] == 2 * by_metric["dapt/train", "checkpoint_bytes"]
    assert by_metric["train", "checkpoint_bytes"] > by_metric["tapt/train", "checkpoint_bytes"] + 4 * (lora + 34)
    for split in ("dapt/train", "train"):
        assert by_metric[split, "peak_memory_bytes"] > 0 and by_metric[split, "examples_per_second"] > 0
        assert by_metric[split, "peak_memory_bytes"] > by_metric[split, "training_memory_bytes"] >= 0
    table = results.load(root)
    assert set(table["peft"]) == {"lora"} and set(table["pretrain_peft.name"]) == {"lora"}
    assert "model.modules.attention" not in table


@pytest.mark.parametrize("child", ["lora", "full"])
def test_of_a_merged_parent_the_base_must_be_kept_too(child: str, world: Path, tmp_path: Path) -> None:
    chain = ["pretrain=[dapt]", "peft@pretrain_peft=lora", f"peft={child}", "peft.inherit=merge"]
    by_metric = values(tmp_path, pipeline(world, tmp_path, *chain).run())
    lora = 2 * 2 * 8 * (16 + 16)
    whole = (world / "model" / "model.safetensors").stat().st_size
    encoder = next(tmp_path.glob("store/finetune/*/model.safetensors")).stat().st_size
    assert 4 * lora < by_metric["dapt/train", "checkpoint_bytes"] < whole
    assert 0.5 * whole < encoder < by_metric["train", "checkpoint_bytes"] < encoder + 4 * lora + 10_000


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
    assert peft_settings(cfg, cfg.peft) == peft_settings(cfg, cfg.pretrain_peft) == {}
    faster = composed("model.path=x", "peft.learning_rate_factor=10", "pretrain_peft.inherit=drop")
    assert peft_settings(faster, faster.peft)["peft"]["learning_rate_factor"] == 10
    assert peft_settings(faster, faster.pretrain_peft)["peft"]["inherit"] == "drop"
    lora = composed("model.path=x", "peft=lora")
    assert peft_settings(lora, lora.peft)["peft"]["method"]["target_modules"] == ["query", "value"]


def test_a_factor_on_the_rate_of_all_weights_is_another_stage_of_both_kinds(world: Path, tmp_path: Path) -> None:
    def keys(*more: str) -> dict[str, str]:
        chain = pipeline(world, tmp_path, "pretrain=[tapt]", "evaluate=clean", *more)
        return {stage.label: chain.key(stage) for stage in chain.stages}

    plain, one = keys(), keys("peft.learning_rate_factor=1.0", "pretrain_peft.learning_rate_factor=1")
    finetuned, pretrained = keys("peft.learning_rate_factor=10"), keys("pretrain_peft.learning_rate_factor=10")
    assert plain == one
    assert finetuned["tapt"] == plain["tapt"] and finetuned["finetune"] != plain["finetune"]
    assert pretrained["tapt"] != plain["tapt"]


@pytest.mark.parametrize(("child", "inherit"), [("full", "drop"), ("linear_probe", "drop"), ("linear_probe", "stack")])
def test_what_a_prompt_learned_reaches_the_next_stage_or_not(
    child: str, inherit: str, world: Path, tmp_path: Path
) -> None:
    after = [f"finetune={child}", "evaluate=clean"]
    prompted = ["pretrain=[dapt]", "peft@pretrain_peft=prompt", f"peft.inherit={inherit}"]
    learned = pipeline(world, tmp_path, *prompted, "pretrain.dapt.optimizer.learning_rate=0.1", *after)
    bare = pipeline(world, tmp_path, *after)
    run_id = learned.run()
    assert values(tmp_path, run_id)["test", "accuracy"] > 0
    folders = [chain.build(chain.stages[-2]).folder for chain in (learned, bare)]
    names = ["head.safetensors"] + ["training.json"] * (child == "full")  # of a head that is fitted, and all losses
    result = [[(folder / name).read_bytes() for name in names] for folder in folders]
    assert (result[0] == result[1]) == (inherit == "drop")
    assert (folders[0] / files.ADAPTERS).exists() == (inherit == "stack")


def test_a_probe_that_merges_has_the_key_that_it_had(world: Path, tmp_path: Path) -> None:
    chain = ["pretrain=[dapt]", "peft@pretrain_peft=lora", "finetune=linear_probe"]
    configs = {
        inherit: pipeline(world, tmp_path, *chain, f"peft.inherit={inherit}").stages[-2].config
        for inherit in ("merge", "stack", "drop")
    }
    assert configs["merge"] == {"method": "linear_probe", "max_length": 32}
    assert [configs[inherit]["inherit"] for inherit in ("stack", "drop")] == ["stack", "drop"]


def test_the_rate_of_a_head_that_is_trained_alone_is_the_one_that_is_swept(world: Path, tmp_path: Path) -> None:
    def trained(*more: str) -> tuple[str, str]:
        chain = pipeline(world, tmp_path, "peft=head_only", "evaluate=clean", *more)
        built = chain.build(chain.stages[-2])
        return built.folder.name, (built.folder / "training.json").read_text()  # the losses of all steps

    slow, fast = (trained(f"finetune.optimizer.learning_rate={rate}", own) for rate, own in ((1e-3, OWN), (1e-2, OWN)))
    assert slow[0] != fast[0] and slow[1] != fast[1]
    assert trained("finetune.optimizer.learning_rate=1e-3") == slow  # the head's own rate is no part of it
    as_one = trained("finetune.optimizer.learning_rate=5e-3", "peft.learning_rate_factor=1")
    assert as_one[0] != slow[0] and as_one[1] == slow[1]


@pytest.mark.parametrize("model", ["tiny", "tiny_decoder"])
def test_an_embedded_models_head_alone_has_the_rate_of_its_heads(model: str) -> None:
    cfg = composed(f"model={model}", "peft=head_only")
    rate = cfg.finetune.optimizer.learning_rate * cfg.peft.learning_rate_factor
    assert rate == cfg.model.head_learning_rate == cfg.finetune.head_learning_rate
    assert science(cfg)["finetune"]["head_learning_rate"] is None
    assert science(composed(f"model={model}", "peft=lora"))["finetune"]["head_learning_rate"] == rate


def test_adalora_resumes_to_the_bit(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = ["peft=adalora", "peft.method.init_r=4", "peft.method.target_r=2", "evaluate=clean", "budget.epochs=3"]
    chain += ["runtime.checkpoint_seconds=0"]
    whole = pipeline(world, tmp_path / "whole", *chain)
    whole.run()

    class Stopped(Exception):
        pass

    advance, seen = loop.advance, []

    def stop(progress, step, loss, seconds):
        advance(progress, step, loss, seconds)
        seen.append(progress.step)
        if len(seen) == 8:
            raise Stopped

    monkeypatch.setattr(loop, "advance", stop)
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
    """Even if fp16 skips an update, such as the one that fixes the final ranks (20 less tfinal, which is 30%)."""
    model = classifier(bases["bert"], option("adalora"), tmp_path)
    train(model, classification(make_batch(6)), steps=20, skipped=skipped)
    left = sum(int((weight != 0).sum()) for name, weight in model.named_parameters() if "lora_E" in name)
    assert left == 2 * 12  # target_r of 2 layers of 6 matrices


@pytest.mark.parametrize("frozen", [1, 2])
def test_adalora_shares_out_the_ranks_of_the_layers_that_are_trained(
    frozen: int, tmp_path: Path, bases: dict[str, Path]
) -> None:
    model = classifier(bases["bert"], option("adalora"), tmp_path)
    retention.freeze(model, frozen)
    before = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    train(model, classification(make_batch(6)), steps=20)
    left = [int((weight != 0).sum()) for name, weight in model.named_parameters() if "lora_E" in name]
    assert sum(left) == 2 * 6 * (2 - frozen)  # target_r of the 6 matrices of each layer that is trained
    now = dict(model.named_parameters())
    assert before and all(torch.equal(now[name], weight) for name, weight in before.items())
