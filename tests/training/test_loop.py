"""The loop: exact resuming, the best checkpoint, schedules, and losses that are not finite."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adapt.adversary.plain import PLAIN
from adapt.config import OptimizerConfig, RuntimeConfig
from adapt.training import loop, optimization
from adapt.training.checkpoint import Progress


class Line(nn.Module):
    """A model of one score, with dropout, so that a wrong random state is noticed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))


class Sign:
    """Whether y is above 0, from one score against its negative."""

    def __init__(self, spoil_at: int | None = None) -> None:
        self.spoil_at = spoil_at

    def items(self, batch: loop.Batch) -> int:
        return len(batch["x"])

    def logits(self, model: Any, batch: loop.Batch) -> torch.Tensor:
        score = model.layers(batch["x"])
        spoilt = self.spoil_at is not None and int(batch["step"][0]) == self.spoil_at
        return torch.cat([-score, score], dim=1) * (torch.nan if spoilt else 1.0)

    def losses(self, model: Any, batch: loop.Batch) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.logits(model, batch), self.targets(batch), reduction="none")

    def targets(self, batch: loop.Batch) -> torch.Tensor:
        return (batch["y"] > 0).long()

    def rows(self, batch: loop.Batch) -> torch.Tensor:
        return torch.arange(len(batch["x"]))


class Killed(Exception):
    pass


def optimizer_config(**changes: Any) -> OptimizerConfig:
    values = {
        "learning_rate": 0.02, "betas": [0.9, 0.98], "eps": 1e-6, "weight_decay": 0.01, "schedule": "linear",
        "warmup_fraction": 0.1, "clip_norm": 1.0, "precision": "no",
    }  # fmt: skip
    return OptimizerConfig(**{**values, **changes})


def train(
    folder: Path, *, die_at: int | None = None, steps: int = 30, scores: Any = None, **changes: Any
) -> tuple[Line, Progress]:
    model = changes.pop("model", None) or Line()
    model.layers[2].p = changes.pop("dropout", 0.3)
    kind = changes.pop("measuring", [])
    data = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))

    def collate(indices: list[int], step: int) -> loop.Batch:
        if step == die_at:
            raise Killed
        x = data[indices]
        ones = torch.ones(len(indices), 3, dtype=torch.long)
        return {
            "x": x,
            "y": x.sum(1),
            "input_ids": ones,
            "attention_mask": ones,
            "step": torch.full((len(indices),), step),
        }

    def epoch(number: int) -> list[list[int]]:
        order = torch.randperm(20, generator=torch.Generator().manual_seed(number)).tolist()
        return [order[cut : cut + 8] for cut in range(0, 20, 8)]

    @torch.no_grad()
    def measure() -> float:
        kind.append("measurement")
        margin = torch.where(data.sum(1) > 0, 1.0, -1.0) * model.layers(data).squeeze(-1)
        kind.append("step")
        return next(scores) if scores else float(torch.nn.functional.softplus(-2 * margin).mean())

    settings: dict[str, Any] = {"every": 5, "patience": None, "objective": Sign(), "micro": 3, **changes}
    progress = loop.train(
        model,
        name="line",
        objective=settings["objective"],
        plan=loop.Plan(epoch, collate, steps, settings["micro"]),
        adversary=PLAIN,
        optimizer_config=settings.get("optimizer", optimizer_config()),
        parameter_groups=optimization.decay_groups(model, None, None),
        best_checkpoint=loop.BestCheckpoint(measure, settings["every"], "min", settings["patience"]),
        seed=3,
        after_update=settings.get("after_update"),
        folder=folder,
        runtime=RuntimeConfig(device="cpu", checkpoint_seconds=0.0, progress=False, trackers=[]),
    )
    return model, progress


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [value.detach().clone() for value in model.state_dict().values()]


@pytest.mark.parametrize("die_at", [1, 4, 5, 17, 29])
def test_a_resumed_training_ends_with_the_same_bytes(tmp_path: Path, die_at: int) -> None:
    model, progress = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "cut", die_at=die_at)
    resumed, after = train(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(resumed), strict=True))
    assert (after.step, after.tokens, after.best, after.best_step) == (
        progress.step,
        progress.tokens,
        progress.best,
        progress.best_step,
    )
    assert after.history == progress.history
    assert after.counts == progress.counts


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    _, progress = train(tmp_path)
    measured = [entry["measured"] for entry in progress.history if "measured" in entry]
    assert measured[-1] < 0.7 * measured[0]
    assert len(measured) == 1 + 30 // 5


def test_the_best_measured_weights_are_kept(tmp_path: Path) -> None:
    _, progress = train(tmp_path / "long", scores=iter([5.0, 4.0, 1.0, 2.0, 3.0, 3.0, 3.0]))
    assert (progress.best, progress.best_step) == (1.0, 10)
    longer, _ = train(tmp_path / "again", scores=iter([5.0, 4.0, 1.0, 2.0, 3.0, 3.0, 3.0]))
    shorter, _ = train(tmp_path / "short", scores=iter([5.0, 4.0, 1.0, 2.0]), patience=1)
    assert all(torch.equal(a, b) for a, b in zip(weights(longer), weights(shorter), strict=True))


def test_a_measurement_is_taken_without_dropout_and_the_training_goes_on_with_it(tmp_path: Path) -> None:
    modes: list[tuple[str, bool]] = []

    class Watched(Line):
        def __init__(self) -> None:
            super().__init__()
            self.layers.register_forward_hook(lambda module, _args, _output: modes.append((kind[-1], module.training)))

    kind = ["step"]
    train(tmp_path, steps=10, model=Watched(), measuring=kind)
    assert set(modes) == {("step", True), ("measurement", False)}


def test_patience_counts_measurements_without_improvement(tmp_path: Path) -> None:
    _, progress = train(tmp_path, scores=iter([5.0, 4.0, 4.0, 4.0]), patience=2)
    assert progress.stopped_early
    assert progress.step == 15


def test_a_loss_that_is_not_finite_names_stage_step_and_last_finite_loss(tmp_path: Path) -> None:
    with pytest.raises(loop.NonFiniteLoss, match=r"line, step 8: the loss is nan; the last finite loss was \d"):
        train(tmp_path, objective=Sign(spoil_at=7))


@pytest.mark.parametrize("micro", [4, 3, 1])
def test_micro_batches_do_not_change_the_weights(tmp_path: Path, micro: int) -> None:
    whole, _ = train(tmp_path / "whole", micro=8, dropout=0.0)
    cut, _ = train(tmp_path / "cut", micro=micro, dropout=0.0)
    for one, other in zip(weights(whole), weights(cut), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.5, 1.0, 1.0, 1.0]), ("linear", [0.5, 1.0, 2 / 3, 1 / 3]), ("cosine", [0.5, 1.0, 0.75, 0.25])],
)
def test_schedules_by_hand(schedule: str, expected: list[float]) -> None:
    shape = optimization.learning_rate_shape(optimizer_config(schedule=schedule, warmup_fraction=0.25), steps=4)
    assert [shape(step) for step in range(4)] == pytest.approx(expected)


def test_a_plan_goes_on_in_the_middle_of_an_epoch() -> None:
    plan = loop.Plan(lambda e: [[10 * e + i] for i in range(3)], lambda indices, step: {}, steps=8, micro_batch_size=1)
    everything = [[0], [1], [2], [10], [11], [12], [20], [21]]
    assert [list(plan.from_step(step)) for step in range(9)] == [everything[step:] for step in range(9)]


def test_biases_and_norms_do_not_decay_and_the_head_has_its_own_rate() -> None:
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    groups = optimization.decay_groups(model, model["head"], 0.5)
    described = {(group["params"][0].shape, group.get("weight_decay"), group.get("lr")) for group in groups}
    assert described == {((2, 2), None, None), ((2,), 0.0, None), ((1, 2), None, 0.5), ((1,), 0.0, 0.5)}


def test_two_precisions_train_in_one_process(tmp_path: Path) -> None:
    """accelerate fixes its precision once per process, but a chain may pretrain in one and fine-tune in another."""
    half, _ = train(tmp_path / "half", steps=10, optimizer=optimizer_config(precision="bf16"))
    whole, _ = train(tmp_path / "whole", steps=10)
    again, _ = train(tmp_path / "again", steps=10)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(again), strict=True))
    assert all(value.dtype == torch.float32 for value in weights(half))


def test_after_update_is_not_called_for_an_update_that_fp16_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gradients are not finite, and AdaLoRA would never forget them. fp16 needs a GPU, but its scaler does not."""
    make, seen = loop.make_accelerator, []

    def scaled(*given: Any) -> Any:
        accelerator = make(*given)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        return accelerator

    class Overflow(Sign):
        def logits(self, model: Any, batch: loop.Batch) -> torch.Tensor:
            logits = super().logits(model, batch)
            if logits.requires_grad and int(batch["step"][0]) == 3:
                logits.register_hook(lambda gradient: gradient * torch.nan)
            return logits

    monkeypatch.setattr(loop, "make_accelerator", scaled)
    model, progress = train(
        tmp_path, objective=Overflow(), steps=6, after_update=lambda number, memory: seen.append(number)
    )
    assert progress.step == 6 and seen == [1, 2, 3, 5, 6]
    assert all(torch.isfinite(weight).all() for weight in weights(model))


def test_weights_that_become_infinite_in_the_last_step_are_refused(tmp_path: Path) -> None:
    scores = iter([5.0, 1.0])  # the exploded weights are the best checkpoint
    with pytest.raises(loop.NonFiniteLoss, match="line, step 1: the weights are not finite; the last finite loss"):
        train(tmp_path, steps=1, every=1, scores=scores, optimizer=optimizer_config(learning_rate=1e30))
