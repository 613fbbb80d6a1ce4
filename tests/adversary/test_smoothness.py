"""The methods that keep a prediction stable: numbers by hand, a transcription in float64, SMART's teacher, R-Drop."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from adversaries import OBJECTIVES, Toy, make_batch, read, run
from test_reference import CLEAN, ONE_TOKEN, Linear, Transcription
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from adapt.config import ConfigError
from adapt.training.checkpoint import Checkpoint, Progress
from adapt.training.objectives import Classification

W = np.array([3.0, 4.0])  # of Linear: its margin at delta is 3 + W . delta


def sigma(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


def kl(one: float, other: float) -> float:
    """KL of two classes given by their margins: sum of p log(p / q)."""
    p, q = sigma(one), sigma(other)
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def both(one: float, other: float) -> float:
    return kl(one, other) + kl(other, one)


def linear(name, *, ball=None, model=None, step=None, **settings):
    """A step on the one-token model: its run, its last delta, and the margin there."""
    adversary = read(name, **settings).with_ball(**(ball or {}))
    outcome = run(adversary, model or Linear(), Classification(), [ONE_TOKEN], **(step or {}))
    delta = outcome.of(0)[-1].double().numpy()[0]
    return outcome, delta, 3 + float(W @ delta)


def test_vat_by_hand():
    ball = {"epsilon": 0.5, "relative": False}
    _, start, _ = linear("vat", ball=ball, num_steps=0)  # epsilon * d0
    assert np.linalg.norm(start) == pytest.approx(0.5)
    outcome, delta, margin = linear("vat", ball=ball, weight=2.0)
    side = np.sign(W @ start)  # the divergence grows to either side of the clean margin
    np.testing.assert_allclose(delta, side * 0.5 * W / 5, rtol=1e-6)
    assert margin == pytest.approx(3 + side * 2.5)
    assert outcome.losses[0].item() == pytest.approx(CLEAN + 2 * kl(3, 3 + side * 2.5), rel=1e-5)


@pytest.mark.parametrize("name", ["smart", "alum"])
def test_smart_and_alum_by_hand(name):
    ball = {"epsilon": 0.5}
    _, start, _ = linear(name, ball=ball, num_steps=0)
    assert np.abs(start).max() <= 0.5
    outcome, delta, margin = linear(name, ball=ball, weight=2.0)
    side = np.sign(W @ start)
    np.testing.assert_allclose(delta, side * np.array([0.5, 0.5]), rtol=1e-6)
    assert margin == pytest.approx(3 + side * 3.5)
    assert outcome.losses[0].item() == pytest.approx(CLEAN + 2 * both(3, margin), rel=1e-5)


def test_both_answers_learn_from_smarts_divergence():
    """S = (p - q)(m - n) of margins m = w . e and n = w . (e + delta): its gradient to w by the product rule."""
    outcome, delta, margin = linear("smart", ball={"epsilon": 0.5}, weight=2.0)
    e, p, q = np.array([1.0, 0.0]), sigma(3), sigma(margin)
    to_clean, to_moved = p * (1 - p) * (3 - margin) + p - q, -q * (1 - q) * (3 - margin) - (p - q)
    expected = (p - 1) * e + 2 * (to_clean * e + to_moved * (e + delta))
    np.testing.assert_allclose(outcome.gradients["weight"][1].numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["smart_as_released", "alum_as_released"])
def test_the_released_smart_and_alum_by_hand(name):
    settings = {"ball": {"epsilon": 0.5}, "noise": 0.01}
    _, noise, at_noise = linear(name, **settings, num_steps=0)
    p, q = sigma(3), sigma(at_noise)
    slope = {"smart_as_released": 4 * q * (1 - q) * (at_noise - 3), "alum_as_released": q - p}[name]
    moved = noise + 10 * slope * W
    outcome, delta, margin = linear(name, **settings, step_size=10.0, weight=2.0)
    np.testing.assert_allclose(delta, 0.5 * moved / (np.abs(moved).max() + 1e-6), rtol=1e-3)
    assert outcome.losses[0].item() == pytest.approx(CLEAN + 2 * both(3, margin), rel=1e-5)
    # each KL's left side is cut off, so a margin's gradient is the other probability's distance, and e's own cancels
    expected = (p - 1) * np.array([1.0, 0.0]) + 2 * (sigma(margin) - p) * delta
    np.testing.assert_allclose(outcome.gradients["weight"][1].numpy(), expected, rtol=1e-4)


def test_the_released_perturbation_is_its_noise_rescaled_where_the_gradient_is_small():
    _, noise, _ = linear("smart_as_released", num_steps=0)
    _, delta, _ = linear("smart_as_released")
    np.testing.assert_allclose(delta, noise / (np.abs(noise).max() + 1e-6), rtol=0.1)
    assert np.abs(noise).max() < 1e-4 < 0.5 < np.abs(delta).max() < 1


def test_a_certain_answer_gives_the_released_objective_a_finite_gradient():
    model = Linear()
    model.weight.data *= 20
    outcome, delta, _ = linear("smart_as_released", model=model)
    assert np.isfinite(delta).all() and outcome.losses[0].isfinite()
    assert outcome.counts.skipped_examples == 0


def test_sift_by_hand():
    """e = (1, 0) has the standard deviation .5 over its two dimensions: an epsilon of .5 is .25 a dimension."""
    _, start, _ = linear("sift", ball={"epsilon": 0.5}, num_steps=0)
    outcome, delta, margin = linear("sift", ball={"epsilon": 0.5}, step_size=2.0, weight=2.0)
    side = np.sign(W @ start)
    np.testing.assert_allclose(delta, side * np.array([0.25, 0.25]), rtol=1e-6)
    assert outcome.losses[0].item() == pytest.approx(CLEAN + 2 * both(3, 3 + side * 1.75), rel=1e-5)
    _, delta, _ = linear("sift", ball={"epsilon": 0.5}, step_size=0.1)
    np.testing.assert_allclose(delta, np.clip(start + side * 0.1 * 0.25, -0.25, 0.25), rtol=1e-5)


def test_sift_moves_every_token_by_its_own_deviation():
    torch.manual_seed(2)
    model, batch = Toy(), make_batch()
    with torch.no_grad():
        model.encoder.words.weight.mul_(torch.linspace(0.1, 10, len(model.encoder.words.weight))[:, None])
    outcome = run(read("sift", step_size=2.0), model, Classification(), [batch])
    words = model.encoder.words.weight.detach().double().numpy()
    for row, example in enumerate(batch["example_ids"].tolist()):
        e = words[batch["input_ids"][row][batch["attention_mask"][row].bool()].numpy()]
        size = np.abs(outcome.of(example)[-1].double().numpy()).max(1)
        np.testing.assert_allclose(size, 0.02 * e.std(1), rtol=1e-5)


def test_sift_refuses_a_relative_radius():
    with pytest.raises(ConfigError, match="adversary.ball.relative is true: SiFT's epsilon"):
        linear("sift", ball={"relative": True})


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_r3f_by_hand(noise):
    outcome, delta, margin = linear("r3f", ball={"epsilon": 0.5}, noise=noise, weight=2.0)
    assert np.abs(delta).max() > 0 and (noise == "normal" or np.abs(delta).max() <= 0.5)
    assert outcome.losses[0].item() == pytest.approx(CLEAN + 2 * both(3, margin), rel=1e-5)


def test_r3fs_noise_has_the_spread_of_its_distribution():
    for noise, deviation in (("uniform", 0.3 / math.sqrt(3)), ("normal", 0.3)):
        outcome = run(read("r3f", noise=noise).with_ball(epsilon=0.3), Toy(), Classification(), [make_batch()])
        values = torch.cat([delta.flatten() for delta in outcome.deltas[-1].values()])
        assert values.std().item() == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize(("name", "setting", "value"), [("r3f", "noise", "cube"), ("smart_as_released", "inner", "js")])
def test_an_unknown_choice_is_refused(name, setting, value):
    with pytest.raises(ConfigError, match=f"adversary.method.{setting} is '{value}': must be one of "):
        linear(name, **{setting: value})


class Written(Transcription):
    """Toy's answers in float64, and the gradient of any function of them by central differences."""

    def answer(self, ids: np.ndarray, delta: np.ndarray) -> np.ndarray:
        hidden = np.tanh(self.lower @ (self.words[ids] + delta).mean(0) + self.lower_bias)
        scores = self.upper @ hidden + self.upper_bias
        return np.exp(scores) / np.exp(scores).sum()

    def gradient(self, value, delta: np.ndarray, width: float = 1e-4) -> np.ndarray:
        result = np.zeros_like(delta)
        for index in np.ndindex(*delta.shape):
            shift = np.zeros_like(delta)
            shift[index] = width
            result[index] = (value(delta + shift) - value(delta - shift)) / (2 * width)
        return result


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum())


def symmetric(p: np.ndarray, q: np.ndarray) -> float:
    return divergence(p, q) + divergence(q, p)


def between(distance, clean: np.ndarray, moved, delta: np.ndarray) -> float:
    return distance(clean, moved(delta))


def odds_gap(p: np.ndarray, moved, fixed: np.ndarray, delta: np.ndarray) -> float:
    """2 * sum of q * (log odds of fixed - log odds of p), where ``fixed`` is the q at which the gradient is taken."""
    return float(2 * (moved(delta) * (np.log(fixed / (1 - fixed)) - np.log(p / (1 - p)))).sum())


CASES = [  # option file, settings, distance of the loss
    ("vat", {"num_steps": 2}, divergence),
    ("smart", {"num_steps": 2, "step_size": 0.4}, symmetric),
    ("alum", {"num_steps": 3, "step_size": 0.3}, symmetric),
    ("sift", {"num_steps": 2, "step_size": 0.4}, symmetric),
    ("smart_as_released", {"num_steps": 2, "noise": 0.1, "step_size": 1.0}, symmetric),
    ("alum_as_released", {"num_steps": 2, "noise": 0.1, "step_size": 1.0}, symmetric),
    ("r3f", {}, symmetric),
]


@pytest.mark.parametrize(("name", "settings", "distance"), CASES, ids=lambda value: value if type(value) is str else "")
def test_a_two_layer_model_against_a_transcription(name, settings, distance):
    torch.manual_seed(2)
    model, batch, epsilon, weight = Toy(), make_batch(), 0.8, 1.5
    ball = {"epsilon": epsilon, "relative": False}
    steps = settings.get("num_steps", 0)
    outcome = run(read(name, **settings, weight=weight).with_ball(**ball), model, OBJECTIVES["classification"], [batch])
    at_start = {**settings, "num_steps": 0} if steps else settings
    started = run(read(name, **at_start).with_ball(**ball), model, OBJECTIVES["classification"], [batch])
    written, losses = Written(model), []
    for row, example in enumerate(batch["example_ids"].tolist()):
        ids = batch["input_ids"][row][batch["attention_mask"][row].bool()].numpy()
        scale = written.words[ids].std(1, keepdims=True) if name == "sift" else 1.0
        clean = written.answer(ids, np.zeros((len(ids), 6)))
        delta = started.of(example)[-1].double().numpy() / scale

        def moved(delta, ids=ids, scale=scale):
            return written.answer(ids, scale * delta)

        for _ in range(steps):
            if name == "smart_as_released":
                value = partial(odds_gap, clean, moved, moved(delta))
            else:
                value = partial(between, symmetric if name in ("smart", "alum", "sift") else divergence, clean, moved)
            gradient = written.gradient(value, delta)
            if name == "vat":
                delta = epsilon * gradient / np.linalg.norm(gradient)
            elif name.endswith("released"):
                delta = delta + gradient
                delta = epsilon * delta / (np.abs(delta).max(1, keepdims=True) + 1e-6)
            else:
                delta = np.clip(delta + settings["step_size"] * epsilon * np.sign(gradient), -epsilon, epsilon)
        np.testing.assert_allclose(outcome.of(example)[-1].double().numpy(), scale * delta, atol=2e-4)
        losses.append(-math.log(clean[int(batch["labels"][row])]) + weight * distance(clean, moved(delta)))
    assert outcome.losses[0].item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("name", ["r3f", "smart", "alum"])
def test_the_published_radius_shows_in_float32(name):
    """At 1e-5 the divergence is 1e-13 to 1e-11; times 1e14 it is the loss, and right within a tenth."""
    torch.manual_seed(2)
    model, batch = Toy(), make_batch()
    small, plain = (run(read(name, weight=weight), model, Classification(), [batch]) for weight in (1e14, 0.0))
    written, expected = Written(model), []
    for row, example in enumerate(batch["example_ids"].tolist()):
        ids = batch["input_ids"][row][batch["attention_mask"][row].bool()].numpy()
        delta = small.of(example)[-1].double().numpy()
        assert 0 < np.abs(delta).max() <= 1e-5 * (1 + 1e-6)
        expected.append(symmetric(written.answer(ids, 0 * delta), written.answer(ids, delta)))
    assert 1e-15 < np.mean(expected) < 1e-9
    assert (small.losses[0] - plain.losses[0]).item() == pytest.approx(1e14 * np.mean(expected), rel=0.1)


TEACHER = {"weight": 0.0, "teacher_weight": 2.0}


def test_smarts_teacher_is_the_model_at_first_and_then_its_average():
    model, memory = Linear(), {}
    outcome, _, _ = linear("smart", model=model, step={"memory": memory}, **TEACHER)
    assert outcome.losses[0].item() == pytest.approx(CLEAN, rel=1e-6)  # the term is 0 between equal models
    assert torch.equal(memory["teacher"]["weight"], model.weight)
    assert memory["teacher"].keys() == dict(model.named_parameters()).keys()

    model.weight.data[1] = torch.tensor([4.0, 4.0])
    outcome, _, _ = linear("smart", model=model, step={"memory": memory, "elapsed": 0.1}, **TEACHER)
    assert memory["teacher"]["weight"][1].tolist() == pytest.approx([3.01, 4.0])  # .99 * 3 + .01 * 4
    assert outcome.losses[0].item() == pytest.approx(math.log(1 + math.exp(-4)) + 2 * both(4, 3.01), rel=1e-5)
    assert model.weight[1].tolist() == [4.0, 4.0]

    model.weight.data[1] = torch.tensor([2.0, 4.0])
    outcome, _, _ = linear("smart", model=model, step={"memory": memory, "elapsed": 0.11}, **TEACHER)
    assert memory["teacher"]["weight"][1].tolist() == pytest.approx([3.00899, 4.0])  # .999 * 3.01 + .001 * 2
    assert outcome.losses[0].item() == pytest.approx(math.log(1 + math.exp(-2)) + 2 * both(2, 3.00899), rel=1e-5)


def test_no_gradient_goes_through_the_teacher():
    model, memory = Linear(), {}
    linear("smart", model=model, step={"memory": memory}, **TEACHER)
    model.weight.data[1] = torch.tensor([4.0, 4.0])
    outcome, _, _ = linear("smart", model=model, step={"memory": memory}, **TEACHER)
    p, q = sigma(4), sigma(3.01)
    expected = p - 1 + 2 * (p * (1 - p) * (4 - 3.01) + p - q)  # of the student's margin 4, times e = (1, 0)
    assert outcome.gradients["weight"][1].tolist() == pytest.approx([expected, 0.0], rel=1e-4)
    assert not any(value.requires_grad for value in memory["teacher"].values())


def test_the_teacher_survives_a_checkpoint(tmp_path):
    def trained():
        model = Linear()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        return model, optimizer, LambdaLR(optimizer, lambda step: 1.0)

    def one_step(model, optimizer, memory):
        outcome, _, _ = linear("smart", model=model, step={"memory": memory}, **TEACHER)
        optimizer.step()
        return outcome.losses[0]

    model, optimizer, scheduler = trained()
    memory: dict = {}
    for _ in range(2):
        one_step(model, optimizer, memory)
    checkpoint = Checkpoint(tmp_path, "stage")
    checkpoint.save_best(model)
    checkpoint.save(model, optimizer, scheduler, Progress(step=2), memory)
    straight = [one_step(model, optimizer, memory) for _ in range(2)]

    model, optimizer, scheduler = trained()
    resumed: dict = {}
    assert checkpoint.load(model, optimizer, scheduler, resumed) is not None
    assert torch.equal(torch.stack([one_step(model, optimizer, resumed) for _ in range(2)]), torch.stack(straight))
    assert all(torch.equal(resumed["teacher"][name], value) for name, value in memory["teacher"].items())


def test_without_weight_there_is_no_teacher():
    memory: dict = {}
    linear("alum", step={"memory": memory})
    assert memory == {}


class Dropped(Linear):
    """Linear with dropout .5 on its embedding: of e = (1, 0) the margin 3 becomes 0 or 6."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.margins: list[list[float]] = []

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits = self.dropout(self.encoder.words(input_ids)[:, 0]) @ self.weight.T
        self.margins.append(logits[:, 1].tolist())
        return logits


def dropped(name, seed, **settings):
    """R-Drop on four copies of the one token: its loss, and the margins of its two passes."""
    model = Dropped()
    batch = {key: value.repeat(4, *[1] * (value.ndim - 1)) for key, value in ONE_TOKEN.items()}
    torch.manual_seed(seed)
    loss = run(read(name, **settings), model, Classification(), [batch]).losses[0].item()
    one, other = model.margins
    return loss, list(zip(one, other, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_rdrop_by_hand(seed):
    loss, pairs = dropped("rdrop", seed, weight=3.0)
    assert {margin for pair in pairs for margin in pair} == {0.0, 6.0}
    assert any(one != other for one, other in pairs)
    entropies = [math.log(1 + math.exp(-one)) + math.log(1 + math.exp(-other)) for one, other in pairs]
    kls = [3 / 2 * (kl(one, other) + kl(other, one)) for one, other in pairs]
    assert loss == pytest.approx(np.mean(entropies) + np.mean(kls), rel=1e-5)


@pytest.mark.parametrize("clean_weight", [1.0, 0.5])
def test_the_released_rdrop_adds_its_divergences_up(clean_weight):
    loss, pairs = dropped("rdrop_as_released", 0, weight=3.0, clean_weight=clean_weight)
    entropies = [math.log(1 + math.exp(-one)) + math.log(1 + math.exp(-other)) for one, other in pairs]
    kls = [3 / 2 * (kl(one, other) + kl(other, one)) for one, other in pairs]
    assert loss == pytest.approx(clean_weight * np.mean(entropies) + np.sum(kls), rel=1e-5)


@pytest.mark.parametrize("name", ["rdrop", "rdrop_as_released"])
@pytest.mark.parametrize("dropout", ["same", "off"])
def test_rdrop_refuses_one_mask(name, dropout):
    with pytest.raises(ConfigError, match=f"adversary.dropout={dropout}: R-Drop compares two masks; set it to fresh"):
        run(read(name), Linear(), Classification(), [ONE_TOKEN], dropout=dropout)
