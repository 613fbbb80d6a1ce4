"""Frozen layers, lower rates for lower layers and the pull to the start, for every architecture and adversary."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adversaries import ARCHITECTURES, OBJECTIVES, OPTIONS, Adversary, batch_for, kept, make_batch, pick, tiny
from torch import nn
from world import pipeline

from adapt.adversary.plain import PLAIN
from adapt.config import ConfigError, OptimizerConfig, RuntimeConfig
from adapt.models.loading import load_classifier, load_encoder
from adapt.training import loop, optimization, retention

CONF = Path(__file__).parents[2] / "conf"
LAYERS = {
    "albert": 1,
    **dict.fromkeys(("bart",), 2),
}  # ALBERT repeats one layer; BART has one in its encoder and one in its decoder


def numbers_of(model: nn.Module) -> dict[int, set[str]]:
    by_layer = defaultdict(set)
    for name, number in retention.layer_numbers(model).items():
        by_layer[number].add(name)
    return by_layer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architectures_layers_are_counted_from_the_embeddings_to_the_head(architecture: str) -> None:
    model = tiny(architecture)
    layers = LAYERS.get(architecture, 2)
    assert retention.count_layers(model.encoder) == layers
    by_layer = numbers_of(model)
    assert sorted(by_layer) == list(range(layers + 2))
    assert set().union(*by_layer.values()) == {name for name, _ in model.named_parameters()}
    words = model.encoder.get_input_embeddings().weight
    assert next(name for name, weight in model.named_parameters() if weight is words) in by_layer[0]
    assert {name for name, _ in model.named_parameters() if name.startswith("head.")} <= by_layer[layers + 1]
    positions = {name for name in set().union(*by_layer.values()) if "position_embeddings" in name or "wpe" in name}
    assert positions <= by_layer[0]
    for layer in range(1, layers + 1):
        matrices = {name.rpartition(".")[0] for name in by_layer[layer] if name.endswith("weight")}
        assert len(matrices) >= 5  # attention, feed-forward and a norm, under any names
    sizes = {sum(weight.numel() for name, weight in model.named_parameters() if name in by_layer[number])
             for number in range(1, layers + 1)}  # fmt: skip
    assert len(sizes) == 1 or architecture in (
        "t5",
        "bart",
        "modernbert",
    )  # first layer has a bias table; cross-attention


def test_an_encoders_layers_come_before_its_decoders() -> None:
    by_layer = numbers_of(tiny("bart"))
    assert all(name.startswith("model.encoder.layers.0.") for name in by_layer[1])
    assert all(name.startswith("model.decoder.layers.0.") for name in by_layer[2])


def test_a_masked_lms_own_head_is_above_and_its_tied_matrix_among_the_embeddings() -> None:
    model = tiny("bert", "masked_lm")
    by_layer = numbers_of(model)
    assert "model.cls.predictions.transform.dense.weight" in by_layer[3] and "model.cls.predictions.bias" in by_layer[3]
    retention.freeze(model, 1)
    assert not model.model.get_output_embeddings().weight.requires_grad
    assert model.model.cls.predictions.bias.requires_grad


@pytest.mark.parametrize("objective", ["classification", "masked_lm"])
def test_at_the_defaults_the_groups_are_those_without_retention(objective: str) -> None:
    model = tiny("bert", objective)
    head = model.head if objective == "classification" else None
    mine = optimization.decay_groups(model, head, 0.5, layer_decay=1.0, learning_rate=0.1)
    inside = {id(weight) for weight in head.parameters()} if head else set()
    expected: list[dict[str, Any]] = []
    for is_head in (False, True):
        for decays in (False, True):
            weights = [p for p in model.parameters() if (id(p) in inside) == is_head and (p.ndim >= 2) == decays]
            rest = {} if decays else {"weight_decay": 0.0}
            if weights:
                expected.append({"params": weights, **rest, **({"lr": 0.5} if is_head else {})})
    assert [[id(p) for p in group["params"]] for group in mine] == [[id(p) for p in g["params"]] for g in expected]
    assert [set(group) for group in mine] == [set(group) for group in expected]
    assert [group.get("lr") for group in mine] == [group.get("lr") for group in expected]


def rates(model: nn.Module, groups: list[dict[str, Any]], base: float) -> dict[str, float]:
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {names[id(weight)]: group.get("lr", base) for group in groups for weight in group["params"]}


@pytest.mark.parametrize(("head_rate", "expected_head"), [(None, 0.8), (3.0, 3.0)])
def test_rates_fall_by_the_factor_from_layer_to_layer(head_rate: float | None, expected_head: float) -> None:
    model = tiny("bert")
    groups = optimization.decay_groups(model, model.head, head_rate, layer_decay=0.5, learning_rate=0.8)
    learning_rates = rates(model, groups, base=0.8)
    assert learning_rates["model.embeddings.word_embeddings.weight"] == pytest.approx(0.1)
    assert learning_rates["model.embeddings.LayerNorm.bias"] == pytest.approx(0.1)
    assert learning_rates["model.encoder.layer.0.attention.self.query.weight"] == pytest.approx(0.2)
    assert learning_rates["model.encoder.layer.1.output.dense.bias"] == pytest.approx(0.4)
    assert learning_rates["head.out.weight"] == learning_rates["head.out.bias"] == expected_head
    assert set(learning_rates) == {name for name, _ in model.named_parameters()}
    assert all(group.get("weight_decay", 1) == 0 for group in groups if group["params"][0].ndim < 2)
    optimizer = torch.optim.AdamW(groups, lr=0.8)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)  # the schedule scales all rates equally
    assert sorted({group["lr"] for group in optimizer.param_groups}) == pytest.approx(
        sorted({0.05, 0.1, 0.2, 0.5 * expected_head})
    )
    assert schedule.get_last_lr()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layers", [0, 1])
def test_the_lowest_layers_and_the_embeddings_are_frozen(architecture: str, layers: int) -> None:
    model = tiny(architecture)
    numbers = retention.layer_numbers(model)
    retention.freeze(model, layers)
    for name, weight in model.named_parameters():
        assert weight.requires_grad is (layers == 0 or numbers[name] > layers), name
    trained = [p for group in optimization.decay_groups(model, model.head, None) for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in model.parameters() if p.requires_grad}


def test_more_frozen_layers_than_there_are_is_refused() -> None:
    model = tiny("bert")
    retention.freeze(model, 2)
    with pytest.raises(ConfigError, match=r"retention.frozen_layers=3: BertModel has 2 layers; must be 2 or less"):
        retention.freeze(model, 3)


def test_a_base_model_without_layers_is_refused() -> None:
    model = nn.Module()
    model.encoder = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"retention: Sequential has no list of layers"):
        retention.layer_numbers(model)


def moved_classifier(alpha: float) -> tuple[nn.Module, retention.Pull | None, list[torch.Tensor]]:
    """A model that was moved from its start, the pull back, and the start."""
    model = tiny("bert")
    start = [weight.detach().clone() for weight in model.parameters()]
    pull = retention.toward_start(model, alpha, new=retention.outside(model))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model, pull, start


def test_the_pull_is_the_gradient_of_the_penalty_and_leaves_new_weights_alone() -> None:
    model, pull, start = moved_classifier(0.3)
    assert pull is not None
    own = [torch.randn_like(weight) for weight in model.parameters()]
    for weight, gradient in zip(model.parameters(), own, strict=True):
        weight.grad = gradient.clone()
    pull(4.0)
    head = {id(weight) for weight in model.head.parameters()}
    penalty = sum(
        0.3 / 2 * (weight - origin).square().sum()
        for weight, origin in zip(model.parameters(), start, strict=True)
        if id(weight) not in head
    )
    expected = torch.autograd.grad(penalty, list(model.parameters()), allow_unused=True)
    for weight, gradient, added in zip(model.parameters(), own, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient if added is None else gradient + 4.0 * added)
    assert len(head) == 2 and sum(added is None for added in expected) == 2


def test_no_pull_and_no_copy_without_a_strength() -> None:
    assert retention.toward_start(tiny("bert"), 0.0, new=[]) is None


@contextmanager
def recorded_gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[torch.Tensor]]]:
    gradients: list[list[torch.Tensor]] = []
    original = torch.optim.AdamW.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        gradients.append([p.grad.clone() for group in self.param_groups for p in group["params"] if p.grad is not None])
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        yield gradients


SETTINGS = OptimizerConfig(
    learning_rate=1e-3, betas=[0.9, 0.98], eps=1e-6, weight_decay=0.0, schedule="constant", warmup_fraction=0.0,
    clip_norm=None, precision="no",
)  # fmt: skip


def first_gradients(
    adversary: Any, alpha: float, folder: Path, monkeypatch: pytest.MonkeyPatch, *, micro: int = 16, **changes: Any
) -> list[torch.Tensor]:
    """The gradients of the training loop's first update, at weights that were moved from their start."""
    model, pull, _ = moved_classifier(alpha)
    batch = make_batch()
    with recorded_gradients(monkeypatch) as gradients:
        loop.train(
            model,
            name="one",
            objective=OBJECTIVES["classification"],
            plan=loop.Plan(lambda _: [list(range(16))], lambda rows, _: pick(batch, rows), 1, micro),
            adversary=adversary,
            optimizer_config=replace(SETTINGS, **changes),
            parameter_groups=[{"params": list(model.parameters())}],
            best_checkpoint=loop.BestCheckpoint(lambda: 0.0, 1, "min", None),
            seed=0,
            folder=folder,
            runtime=RuntimeConfig(device="cpu", checkpoint_seconds=1e9, progress=False, trackers=[]),
            stored=kept(model, [batch]),
            pull=pull,
        )
    return gradients[0]


@pytest.mark.parametrize("option", OPTIONS, ids=[file.stem for file in OPTIONS])
def test_under_every_adversary_an_update_is_pulled_once(
    option: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adversary = Adversary.read(option)
    model, _, start = moved_classifier(0.0)
    away = [weight.detach() - origin for weight, origin in zip(model.parameters(), start, strict=True)]
    away[-2:] = [torch.zeros_like(each) for each in away[-2:]]  # the head's weight and bias
    plain = first_gradients(adversary, 0.0, tmp_path / "plain", monkeypatch)
    pulled = first_gradients(adversary, 0.5, tmp_path / "pulled", monkeypatch)
    for before, after, distance in zip(plain, pulled, away, strict=True):
        torch.testing.assert_close(after - before, 0.5 * distance, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("micro", [4, 13])
def test_accumulation_does_not_change_a_pulled_gradient(
    micro: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = first_gradients(PLAIN, 0.5, tmp_path / "whole", monkeypatch)
    cut = first_gradients(PLAIN, 0.5, tmp_path / "cut", monkeypatch, micro=micro)
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_pull_is_clipped_with_the_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = first_gradients(PLAIN, 50.0, tmp_path / "free", monkeypatch)
    clipped = first_gradients(PLAIN, 50.0, tmp_path / "clipped", monkeypatch, clip_norm=0.1)
    norm = torch.cat([gradient.flatten() for gradient in free]).norm()
    assert norm > 1
    assert torch.cat([gradient.flatten() for gradient in clipped]).norm() == pytest.approx(0.1, rel=1e-3)
    torch.testing.assert_close(clipped[0], free[0] * 0.1 / norm, rtol=1e-3, atol=1e-6)


def test_frozen_embeddings_are_perturbed_and_stay(tmp_path: Path) -> None:
    adversary = Adversary.read(CONF / "adversary" / "pgd.yaml")
    model, batch = tiny("bert", "masked_lm"), batch_for("masked_lm")
    retention.freeze(model, 1)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    progress = loop.train(
        model,
        name="frozen",
        objective=OBJECTIVES["masked_lm"],
        plan=loop.Plan(lambda _: [list(range(16))], lambda rows, _: pick(batch, rows), 3, 8),
        adversary=adversary,
        optimizer_config=SETTINGS,
        parameter_groups=optimization.decay_groups(model, None, None, layer_decay=0.5, learning_rate=1e-3),
        best_checkpoint=loop.BestCheckpoint(iter([3.0, 2.0, 1.0, 0.0]).__next__, 1, "min", None),
        seed=0,
        folder=tmp_path,
        runtime=RuntimeConfig(device="cpu", checkpoint_seconds=1e9, progress=False, trackers=[]),
    )
    assert progress.counts["delta_norm_p50"] > 0
    numbers = retention.layer_numbers(model)
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]) is (numbers[name] <= 1), name


# The stages ----------------------------------------------------------------------------------------------------


def trained(world: Path, root: Path, kind: str, *more: str) -> Path:
    chain = pipeline(world, root, "runtime.checkpoint_seconds=0", *more)
    stage = next(stage for stage in chain.stages if stage.kind == kind)
    return chain.build(stage).folder


KILLS = {"finetune": ("budget.epochs=3",), "pretrain": ("pretrain=[dapt]", "budget.dapt_steps=6")}


@pytest.mark.parametrize("kind", KILLS)
def test_a_resumed_stage_is_pulled_to_the_same_start(
    kind: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = "finetune" if kind == "finetune" else "pretrain.dapt"
    more = [*KILLS[kind], f"{part}.retention.toward_start=5", f"{part}.retention.layer_decay=0.7"]
    whole = trained(world, tmp_path / "whole", kind, *more)
    original, name = loop.advance, "finetune" if kind == "finetune" else "dapt"

    def dies(progress: Any, *args: Any) -> None:
        original(progress, *args)
        if progress.step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "advance", dies)
        with pytest.raises(KeyboardInterrupt):
            trained(world, tmp_path / "cut", kind, *more)
    assert list((tmp_path / "cut" / "store" / kind).glob(f".*/checkpoint/{name}.latest.pt"))  # it can be resumed
    resumed = trained(world, tmp_path / "cut", kind, *more)
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    losses = [json.loads((folder / "training.json").read_text())["history"] for folder in (whole, resumed)]
    assert losses[0] == losses[1]


def distance(world: Path, folder: Path) -> float:
    start = load_encoder(world / "model").state_dict()
    model, _ = load_classifier(folder)
    end = model.encoder.state_dict()
    return float(sum((end[name] - start[name]).square().sum() for name in start if "pooler" not in name))


def test_a_pulled_model_stays_nearer_and_a_frozen_one_keeps_its_layers(world: Path, tmp_path: Path) -> None:
    far = ["finetune.optimizer.learning_rate=0.01", "budget.epochs=3"]
    free = distance(world, trained(world, tmp_path, "finetune", *far))
    pulled = distance(world, trained(world, tmp_path, "finetune", *far, "finetune.retention.toward_start=1"))
    assert 0 < pulled < 0.5 * free
    frozen = trained(world, tmp_path, "finetune", *far, "finetune.retention.frozen_layers=2")
    assert distance(world, frozen) == 0.0
    decayed = distance(world, trained(world, tmp_path, "finetune", *far, "finetune.retention.layer_decay=0.1"))
    assert 0 < decayed < 0.5 * free


def test_retention_is_only_in_the_key_of_its_own_stage(world: Path, tmp_path: Path) -> None:
    plain = pipeline(world, tmp_path)
    for change in ("toward_start=0.1", "layer_decay=0.9", "frozen_layers=1"):
        other = pipeline(world, tmp_path, f"finetune.retention.{change}")
        assert other.key(other.stages[0]) != plain.key(plain.stages[0])


@pytest.mark.parametrize("part", ["finetune", "pretrain.dapt"])
def test_too_many_frozen_layers_are_refused_before_anything_trains(part: str, world: Path, tmp_path: Path) -> None:
    chain = pipeline(world, tmp_path, "pretrain=[dapt]", f"{part}.retention.frozen_layers=9")
    with pytest.raises(ConfigError, match=rf"{part}.retention.frozen_layers=9: BertModel has 2 layers; must be 2"):
        chain.check_model()


@pytest.mark.parametrize(
    ("given", "possible"),
    [
        ("toward_start=-1", "must be 0 or more"),
        ("layer_decay=0", "must be more than 0 and at most 1"),
        ("layer_decay=1.1", "must be more than 0 and at most 1"),
        ("frozen_layers=-1", "must be 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(given: str, possible: str, world: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"finetune.retention.{given.split('=')[0]}=.*{possible}"):
        pipeline(world, tmp_path, f"finetune.retention.{given}")
