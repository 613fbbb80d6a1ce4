"""APGD and its losses: the paper's numbers, an independent implementation, and margins worked out by hand."""

import math

import pytest
import torch
from victims import BALL, Linear, attack, one_token

from adapt.attacks.apgd import apgd, checkpoints, difference_of_logits_ratios, margins
from adapt.perturbation.ball import Ball


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(50)[:2] == [11, 21]


def test_margins_and_dlr_by_hand():
    logits = torch.tensor([[1.0, 4.0, 2.0, 0.0], [1.0, 4.0, 2.0, 0.0], [1.0, 4.0, 2.0, 0.0]])
    labels = torch.tensor([1, 0, 2])
    assert margins(logits, labels).tolist() == [2.0, -3.0, -2.0]
    # over z_1st - z_3rd = 4 - 1
    torch.testing.assert_close(difference_of_logits_ratios(logits, labels), torch.tensor([-2 / 3, 1.0, 2 / 3]))


def test_dlr_does_not_see_shift_and_scale():
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 5), torch.randint(0, 5, (20,))
    plain = difference_of_logits_ratios(logits, labels)
    torch.testing.assert_close(difference_of_logits_ratios(1000 * logits - 7, labels), plain, rtol=1e-4, atol=1e-5)
    assert plain.std() > 0.1
    with pytest.raises(AssertionError, match="three classes"):
        difference_of_logits_ratios(logits[:, :2], labels % 2)


def wave(x, shift, sin=torch.sin, cos=torch.cos):
    return sin(3 * x + shift) + 0.4 * cos(11 * x)


def transcription(shift: float, num_steps: int) -> float:
    """Algorithm 1 in one dimension and in Python's floats: the x in [-1, 1] of the highest value, starting from 0."""

    def value(x):
        return wave(x, shift, math.sin, math.cos)

    def sign(x):
        return math.copysign(1.0, 3 * math.cos(3 * x + shift) - 4.4 * math.sin(11 * x))

    def cut(x):
        return max(-1.0, min(1.0, x))

    share = [0.0, 0.22]
    while share[-1] <= 1:
        share.append(share[-1] + max(share[-1] - share[-2] - 0.03, 0.06))
    marks = [math.ceil(p * num_steps - 1e-6) for p in share if p <= 1]
    eta, x_old, x = 2.0, 0.0, cut(0.0 + 2.0 * sign(0.0))
    best = max((0.0, x), key=value)
    values = [value(0.0), value(x)]
    eta_kept, best_kept, previous = eta, value(0.0), 0
    for k in range(1, num_steps + 1):
        if k in marks:  # x is x_k
            rises = sum(values[i + 1] > values[i] for i in range(previous, k))
            condition_1 = rises < 0.75 * (k - previous)
            condition_2 = eta == eta_kept and value(best) == best_kept
            eta_kept, best_kept, previous = eta, value(best), k
            if condition_1 or condition_2:
                eta, x = eta / 2, best
                values[-1] = value(best)
        if k == num_steps:
            return best
        z = cut(x + eta * sign(x))
        x_old, x = x, cut(x + 0.75 * (z - x) + 0.25 * (x - x_old))
        values.append(value(x))
        best = max((best, x), key=value)
    raise AssertionError


@pytest.mark.parametrize("num_steps", [1, 2, 5, 10, 20, 50])
def test_it_is_the_algorithm_of_the_paper(num_steps):
    shifts = torch.linspace(-3, 3, 40)
    ball = Ball(epsilon=1.0, norm="linf", scope="sequence", relative=False, special_tokens=True)

    def losses_at(delta):
        return wave(delta[:, 0, 0], shifts)

    best = apgd(losses_at, torch.zeros(40, 1, 1), ball=ball, num_steps=num_steps)[:, 0, 0]
    expected = torch.tensor([transcription(shift.item(), num_steps) for shift in shifts])
    assert ((best - expected).abs() < 1e-4).float().mean() > 0.9  # rounding flips a comparison now and then


def test_the_step_halves_where_it_must():
    """From 0, steps of 2 would overshoot .3 for ever; halving reaches it."""
    best = apgd(lambda delta: -((delta - 0.3) ** 2).sum((1, 2)), torch.zeros(1, 1, 1), ball=BALL, num_steps=50)
    assert abs(best.item() - 0.3) < 0.02


@pytest.mark.parametrize("member", ["apgd_ce", "apgd_dlr"])
@pytest.mark.parametrize(
    ("norm", "smallest"), [("l2", 3 / 5), ("linf", 3 / 7)], ids=["margin over |w|_2", "margin over |w|_1"]
)
def test_a_linear_model_falls_where_its_margin_says(member, norm, smallest):
    ball = Ball(epsilon=1.0, norm=norm, scope="token", relative=False, special_tokens=True)
    grid = [smallest * 0.999, smallest * 1.001]
    result = attack(Linear(), one_token(), [member], grid, ball)[member]
    assert result.epsilon.tolist() == [grid[1]] and result.answer.tolist() == [0]
    assert result.norm.item() == pytest.approx(smallest, rel=2e-3)


@pytest.mark.parametrize(("fifth", "sixth_delta"), [(4.0, 0.5), (11.0, 1.0)], ids=["stuck below 10", "a new best"])
def test_a_best_loss_that_stands_since_the_last_checkpoint_halves_the_step(fifth, sixth_delta):
    """Only condition 2: four of the five steps to the first checkpoint rise. From 0: .75 x 1 + .25 x (0 - 1) = .5."""
    losses, deltas = [10.0, 0.0, 1.0, 2.0, 3.0, fifth], []

    def losses_at(delta):
        deltas.append(delta.item())
        slope = delta.sum((1, 2))
        return slope - slope.detach() + (losses[len(deltas) - 1] if len(deltas) <= len(losses) else 0.0)

    ball = Ball(epsilon=1.0, norm="linf", scope="sequence", relative=False, special_tokens=True)
    apgd(losses_at, torch.zeros(1, 1, 1), ball=ball, num_steps=20)
    assert deltas[:6] == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0] and deltas[6] == sixth_delta
