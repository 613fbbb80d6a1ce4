"""The minimal-norm search against margins worked out by hand."""

import pytest
import torch
from adversaries import make_batch, tiny
from victims import Linear, Masked, attack, one_token, right

from adapt.attacks.minimal_norm import minimal_norm
from adapt.perturbation.ball import Ball

FIVE_AND_SIX = torch.tensor([[5, 6]])  # margin 3 x 11 / 7


def ball(norm: str, scope: str) -> Ball:
    return Ball(epsilon=1.0, norm=norm, scope=scope, relative=False, special_tokens=True)


@pytest.mark.parametrize(
    ("norm", "scope", "unit"),
    [
        ("l2", "sequence", 5 * 2**0.5),  # both tokens move by r / sqrt(2) along w: the margin falls by 5 sqrt(2) r
        ("l2", "token", 5 * 2),
        ("linf", "sequence", 7 * 2),
        ("linf", "token", 7 * 2),
    ],
)
def test_a_linear_model_by_hand(norm, scope, unit):
    two = {**one_token(), "input_ids": FIVE_AND_SIX, "attention_mask": torch.ones(1, 2, dtype=torch.long),
           "special_tokens_mask": torch.zeros(1, 2, dtype=torch.long)}  # fmt: skip
    expected = 33 / 7 / unit
    grid = [expected * 0.99, expected * 1.01, 2 * expected]
    result = attack(Linear(), two, ["minimal_norm"], grid, ball(norm, scope))["minimal_norm"]
    assert result.norm.item() == pytest.approx(expected, rel=3e-3)
    assert result.norm.item() >= expected * (1 - 1e-5)
    assert result.epsilon.tolist() == [grid[1]] and result.nearest.tolist() == [0]


def test_every_example_has_its_own_norm_and_costs_are_counted():
    batch = one_token(7, 14, 35)
    results = attack(Linear(), batch, ["minimal_norm"], [1.0], ball("l2", "sequence"), minimal_norm_steps=25)
    torch.testing.assert_close(
        results["minimal_norm"].norm, torch.tensor([0.6, 1.2, 3.0], dtype=torch.float64), rtol=3e-3, atol=0
    )
    assert (results["minimal_norm"].passes.forward, results["minimal_norm"].passes.backward) == (26 * 3, 25 * 3)


def test_without_a_gradient_nothing_is_found():
    batch = make_batch(4)
    model = Masked(tiny("bert"))
    result = attack(model, right(model, batch), ["minimal_norm"], [0.1])["minimal_norm"]
    assert result.norm.isinf().all() and result.epsilon.isinf().all()


def test_the_norm_it_gives_is_of_a_delta_with_that_margin():
    seen = []

    def margins_at(delta):
        seen.append(delta.detach())
        return 1 - (delta**2).sum((1, 2)) * torch.tensor([1.0, 4.0, 0.0])  # a circle of 1, of .5; a wall

    within = ball("l2", "sequence")
    start = torch.full((3, 1, 2), 0.01)
    norms = minimal_norm(margins_at, start, ball=within, num_steps=40)
    assert norms[:2].tolist() == pytest.approx([1.0, 0.5], rel=5e-3) and norms[2].isinf()
    deltas = torch.stack(seen)
    fell = torch.stack([margins_at(delta) < 0 for delta in deltas])
    sizes = torch.stack([within.size(delta).flatten() for delta in deltas])
    assert torch.equal(torch.where(fell, sizes, torch.inf).amin(0), norms)
    assert deltas.isfinite().all()
