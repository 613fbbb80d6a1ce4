"""FGM and PGD against numbers worked out by hand and against an independent transcription in float64."""

import math

import numpy as np
import pytest
import torch
from adversaries import OBJECTIVES, VOCABULARY, Toy, make_batch, pick, read, run
from torch import nn

from adapt.training.objectives import Classification, example_losses


class Linear(nn.Module):
    """logits = (0, w . e) of a single token with e = (1, 0), w = (3, 4): the margin of class 1 is 3, |w| = 5."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Toy.Encoder(2)
        self.encoder.words.weight = nn.Parameter(torch.tensor([1.0, 0.0]).expand(VOCABULARY, 2).clone())
        self.weight = nn.Parameter(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.encoder(input_ids)[0][:, 0] @ self.weight.T


ONE_TOKEN = {
    "input_ids": torch.tensor([[7]]),
    "attention_mask": torch.ones(1, 1, dtype=torch.long),
    "special_tokens_mask": torch.zeros(1, 1, dtype=torch.long),
    "example_ids": torch.tensor([0]),
    "labels": torch.tensor([1]),
}
CLEAN = math.log(1 + math.exp(-3.0))  # .0486
PGD = {"num_steps": 2, "step_size": 0.6, "clean_weight": 0.0, "random_starts": 0}


@pytest.mark.parametrize(
    ("name", "settings", "norm", "margins"),
    [
        # a radius of .5 against the margin: 3 - .5 x |w|_2 = .5, and in linf 3 - .5 x (3 + 4) = -.5
        ("fgm", {"weight": 1.0}, "l2", [3.0, 0.5]),
        ("fgm", {"weight": 1.0}, "linf", [3.0, -0.5]),
        ("pgd", PGD, "l2", [0.5]),  # .3, then .6, projected to .5
        ("pgd", {**PGD, "num_steps": 1}, "l2", [1.5]),  # 3 - .3 x 5
        ("pgd", {**PGD, "step_size": 0.25}, "l2", [1.75]),  # two steps of .125 stay inside: 3 - .25 x 5
        ("pgd", {**PGD, "clean_weight": 1.0}, "l2", [3.0, 0.5]),
        ("pgd", {**PGD, "num_steps": 1, "clean_weight": 1.0}, "linf", [3.0, 0.9]),  # 3 - .3 x 7
    ],
)
def test_a_linear_model_by_hand(name, settings, norm, margins):
    adversary = read(name, **settings).with_ball(epsilon=0.5, norm=norm, relative=False)
    outcome = run(adversary, Linear(), Classification(), [ONE_TOKEN])
    expected = [math.log(1 + math.exp(-margin)) for margin in margins]
    assert [loss.item() for loss in outcome.losses] == pytest.approx(expected, rel=1e-5)


def test_weights_scale_their_terms():
    fgm = read("fgm", weight=0.25).with_ball(epsilon=0.5, relative=False)
    assert run(fgm, Linear(), Classification(), [ONE_TOKEN]).losses[1].item() == pytest.approx(
        0.25 * math.log(1 + math.exp(-0.5)), rel=1e-5
    )
    pgd = read("pgd", **{**PGD, "clean_weight": 0.5}).with_ball(epsilon=0.5, relative=False)
    assert run(pgd, Linear(), Classification(), [ONE_TOKEN]).losses[0].item() == pytest.approx(0.5 * CLEAN, rel=1e-5)


class Transcription:
    """Toy in numpy and float64, one example at a time, gradients by the chain rule written out."""

    def __init__(self, model: Toy) -> None:
        values = {name: value.detach().double().numpy() for name, value in model.named_parameters()}
        self.words = values["encoder.words.weight"]
        self.lower, self.lower_bias = values["lower.weight"], values["lower.bias"]
        self.upper, self.upper_bias = values["upper.weight"], values["upper.bias"]

    def loss_and_gradient(self, ids: np.ndarray, delta: np.ndarray, label: int) -> tuple[float, np.ndarray]:
        hidden = np.tanh(self.lower @ (self.words[ids] + delta).mean(0) + self.lower_bias)
        scores = self.upper @ hidden + self.upper_bias
        probabilities = np.exp(scores - scores.max())
        probabilities /= probabilities.sum()
        wrong = probabilities - np.eye(len(scores))[label]
        to_mean = self.lower.T @ ((1 - hidden**2) * (self.upper.T @ wrong))
        return -math.log(probabilities[label]), np.tile(to_mean / len(ids), (len(ids), 1))

    def ascend(self, ids, label, *, steps, step, epsilon, norm, scope) -> np.ndarray:
        delta = np.zeros((len(ids), self.words.shape[1]))
        axis = None if scope == "sequence" else 1
        for _ in range(steps):
            _, gradient = self.loss_and_gradient(ids, delta, label)
            if norm == "linf":
                delta = np.clip(delta + step * np.sign(gradient), -epsilon, epsilon)
            else:
                delta = delta + step * gradient / np.linalg.norm(gradient, axis=axis, keepdims=True)
                delta = delta * np.minimum(1, epsilon / np.linalg.norm(delta, axis=axis, keepdims=True))
        return delta


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("scope", ["sequence", "token"])
@pytest.mark.parametrize(("name", "steps", "step"), [("fgm", 1, 1.0), ("pgd", 1, 0.4), ("pgd", 5, 0.4)])
def test_a_two_layer_model_against_a_transcription(name, steps, step, norm, scope):
    torch.manual_seed(2)
    model, batch, epsilon = Toy(), make_batch(), 0.8
    settings = {"num_steps": steps, "step_size": step} if name == "pgd" else {}
    adversary = read(name, **settings).with_ball(epsilon=epsilon, norm=norm, scope=scope, relative=False)
    outcome = run(adversary, model, OBJECTIVES["classification"], [batch])
    written, losses = Transcription(model), []
    for row, example in enumerate(batch["example_ids"].tolist()):
        ids = batch["input_ids"][row][batch["attention_mask"][row].bool()].numpy()
        label = int(batch["labels"][row])
        expected = written.ascend(ids, label, steps=steps, step=step * epsilon, epsilon=epsilon, norm=norm, scope=scope)
        np.testing.assert_allclose(outcome.of(example)[-1].double().numpy(), expected, atol=2e-6)
        losses.append(written.loss_and_gradient(ids, expected, label)[0])
    assert outcome.losses[-1].item() == pytest.approx(np.mean(losses), rel=1e-6)


def test_the_relative_radius_is_in_units_of_the_median_embedding_norm():
    torch.manual_seed(2)
    model = Toy()
    lengths = np.linalg.norm(model.encoder.words.weight.detach().double().numpy(), axis=1)
    outcome = run(read("fgm").with_ball(epsilon=0.25), model, OBJECTIVES["classification"], [pick(make_batch(), [0])])
    middle = np.sort(lengths)[(len(lengths) - 1) // 2]  # torch's median is the lower of the two in the middle
    assert outcome.of(100)[-1].norm().item() == pytest.approx(0.25 * middle, rel=1e-6)


def test_masked_lm_losses_are_summed_over_each_examples_tokens_and_divided_by_all_of_them():
    class Table(nn.Module):
        def forward(self, input_ids, attention_mask, positions, targets):
            logits = torch.log(torch.tensor([[0.5, 0.25, 0.25]])).expand(len(positions), 3)
            return nn.functional.cross_entropy(logits, targets, reduction="none")

    objective = OBJECTIVES["masked_lm"]
    batch = {"input_ids": torch.zeros(3, 4, dtype=torch.long), "attention_mask": torch.ones(3, 4)}
    batch |= {"positions": torch.tensor([1, 2, 9]), "targets": torch.tensor([0, 1, 2]), "rows": torch.tensor([0, 0, 2])}
    losses = example_losses(objective, Table(), batch)
    assert objective.items(batch) == 3
    torch.testing.assert_close(losses, torch.tensor([math.log(2) + math.log(4), 0.0, math.log(4)]))
