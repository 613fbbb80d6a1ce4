"""The checks pass if nothing is wrong, and the right check fails if something is."""

import numpy as np
import pytest
import torch
from adversaries import make_batch, tiny
from torch import nn
from victims import Masked, right

from adapt.attacks.checks import reference, sample, verdicts
from adapt.attacks.differences import KINDS
from adapt.attacks.ensemble import Strength, clean_state, worst_case
from adapt.attacks.victim import Victim
from adapt.perturbation.ball import Ball

BALL = Ball(epsilon=1.0, norm="l2", scope="token", relative=True, special_tokens=True)
STRENGTH = Strength(num_steps=8, gradient_free_queries=40)


def failed(model: nn.Module, epsilon: float = 0.3) -> dict[str, float]:
    """The checks that fail on a model, each with what it observed."""
    batch = right(model, make_batch())
    victim = Victim(model, batch, special_tokens=True)
    clean = clean_state(victim)
    results = worst_case(victim, clean, ["apgd_ce", "gradient_free"], ball=BALL, epsilons=[epsilon], strength=STRENGTH)
    samples = sample(victim, clean, ball=BALL, epsilon=epsilon, member="apgd_ce", strength=STRENGTH)
    fell = {name: (each.norm <= epsilon).numpy() for name, each in results.items()}
    checks = verdicts(samples, epsilon=epsilon, strength=STRENGTH, classes=3, black_box=fell["gradient_free"],
                      white_box=fell["apgd_ce"])  # fmt: skip
    assert len({check.name for check in checks}) == len(checks) == 10
    return {check.name: check.observed for check in checks if not check.passed}


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_an_undefended_model_passes(architecture):
    assert failed(tiny(architecture, dropout=0.5), 0.1) == {}


def test_masked_gradients_are_seen():
    """Answers change as before, but gradients are exactly zero: attacks without gradients are stronger."""
    observed = failed(Masked(tiny("bert")), 3.0)
    assert {"nonzero_gradient", "gradient", "white_box", "unbounded"} == set(observed)
    assert observed["nonzero_gradient"] == 1.0 and observed["unbounded"] == 1.0
    assert observed["gradient"] > 0.1 and observed["white_box"] > 0.1


class Wrapped(nn.Module):
    """A model whose scores go through a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.model, self.function = tiny("bert"), function
        self.encoder = self.model.encoder

    def forward(self, **inputs):
        return self.function(self.model(**inputs))


def noisy(logits):
    return logits + 1e-4 * torch.randn_like(logits)


def overflowing(logits):
    return torch.cat([torch.where(torch.arange(len(logits)) == 1, -torch.inf, logits[:, 0])[:, None], logits[:, 1:]], 1)


@pytest.mark.parametrize(
    ("function", "name", "observed"),
    [
        (lambda logits: logits.softmax(-1), "logits", 1.0),
        (noisy, "no_dropout", None),
        (overflowing, "finite", 1 / 16),
    ],
)
def test_what_spoils_a_pass_is_seen(function, name, observed):
    failures = failed(Wrapped(function))
    assert name in failures and (observed is None or failures[name] == pytest.approx(observed))


def samples(**fallen: int) -> dict[str, np.ndarray]:
    """Samples of 200 examples, of which each attack fooled the given number."""
    given = {"same": 100, "more": 100, "single": 90, "random": 20, "unbounded": 200, "non_finite": 0,
             "zero_gradient": 0, "probabilities": 0, "changed": 0, **fallen}  # fmt: skip
    given |= {f"finite_differences.{kind}.{name}": 0 for kind in KINDS for name in ("error", "doubt", "size")}
    return {name: (np.arange(200) < number).astype(float) for name, number in given.items()}


def verdict(name: str, black: int = 30, **fallen: int) -> tuple[bool, float]:
    checks = verdicts(samples(**fallen), epsilon=0.1, strength=STRENGTH, classes=4,
                      black_box=np.arange(200) < black, white_box=np.arange(200) < 100)  # fmt: skip
    (check_of_name,) = [check for check in checks if check.name == name]
    others = [check.name for check in checks if check.name != name and not check.passed]
    assert others == []
    return check_of_name.passed, pytest.approx(check_of_name.observed)


@pytest.mark.parametrize(
    ("name", "fallen", "expected"),
    [
        ("more_steps", {"more": 130}, (True, -0.15)),
        ("more_steps", {"more": 98}, (True, 0.01)),  # ascent need not find the worst case: one in a hundred is allowed
        ("more_steps", {"more": 97}, (False, 0.015)),
        ("iterated", {"single": 103}, (False, 0.015)),
        ("gradient", {"random": 103}, (False, 0.015)),
        ("unbounded", {"unbounded": 150}, (True, 0.25)),
        ("unbounded", {"unbounded": 149}, (False, 0.255)),
        ("white_box", {"black": 102}, (True, 0.01)),
        ("white_box", {"black": 103}, (False, 0.015)),
        ("nonzero_gradient", {"zero_gradient": 1}, (False, 0.005)),
    ],
)
def test_verdicts_by_hand(name, fallen, expected):
    assert verdict(name, **fallen) == expected


def test_without_a_gradient_free_member_there_is_no_such_check():
    checks = verdicts(samples(), epsilon=0.1, strength=STRENGTH, classes=4, black_box=None, white_box=np.ones(200) > 0)
    assert "white_box" not in [check.name for check in checks] and all(check.passed for check in checks)


def test_the_radius_of_the_checks_is_the_lower_middle_of_the_grid():
    assert reference([0.1, 0.0, 0.02, 0.01, 0.05, 0.1]) == 0.02
    assert reference([0.3]) == 0.3
