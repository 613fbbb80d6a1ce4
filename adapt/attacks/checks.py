"""Whether an attack can be trusted: the checks of Carlini et al. (2019) and the flags of AutoAttack, as numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adapt.attacks.differences import compared, disagreement
from adapt.attacks.ensemble import MEMBERS, Member, Strength
from adapt.attacks.victim import Trial, Victim
from adapt.perturbation.ball import Ball

KEY_NAME = "attacks.checks"
VERSION = 2
UNBOUNDED = 100.0  # radius that stands for infinity, in median embedding norms
SLACK = 0.01 + 1e-9  # an accuracy may be too high by one example in a hundred: ascent need not find the worst case
DIFFERENCES = "finite_differences"
WRONG = 0.1  # a gradient is wrong if this far from finite differences, beyond what rounding explains
CHECKED = ("apgd_ce", "pgd")  # the checks examine the first of these that is a member
Samples = dict[str, NDArray[np.float64]]


@dataclass
class Check:
    """A verdict. observed: the number that decides it; epsilon: the radius of the check; meaning: of observed."""

    name: str
    passed: bool
    observed: float
    epsilon: float
    steps: int
    meaning: str


def reference(epsilons: list[float]) -> float:
    """The radius at which attacks are checked: the lower median of the grid's radii above 0."""
    grid = sorted(epsilon for epsilon in set(epsilons) if epsilon > 0)
    return grid[(len(grid) - 1) // 2]


def sample(
    victim: Victim, clean: tuple[Tensor, Tensor], *, ball: Ball, epsilon: float, member: str, strength: Strength
) -> Samples:
    """What the checks need of each example, [B] each: which attacks fool it, and properties of a clean pass.

    Examples whose clean answer is wrong count as fooled. For the others it costs about
    (5 num_steps + 30) F + (4 num_steps + 1) Bi (F: forward passes, Bi: backward passes to the input).
    """
    logits, gradient = clean
    right = logits.argmax(-1) == victim.labels
    within = replace(ball, epsilon=epsilon).absolute(victim.length)
    without = replace(ball, epsilon=UNBOUNDED * victim.length, relative=False)
    more, single = (replace(strength, num_steps=number) for number in (2 * strength.num_steps, 1))
    attack = MEMBERS[member]
    trials = {
        "same": (within, attack, strength),
        "more": (within, attack, more),
        "single": (within, MEMBERS["pgd"], single),  # one step of 2.5 epsilon, projected onto the boundary
        "random": (within, _random, strength),
        "unbounded": (without, attack, strength),
    }
    samples = {name: _fooled(victim, gradient, right, *trial).double() for name, trial in trials.items()}
    samples["non_finite"] = (~logits.isfinite().all(-1) | ~gradient.isfinite().flatten(1).all(-1)).double()
    samples["zero_gradient"] = (gradient == 0).flatten(1).all(1).double()
    sums = (logits.sum(-1) - 1).abs() < 1e-4
    samples["probabilities"] = ((logits >= 0).all(-1) & sums).double()
    samples["changed"] = (victim.logits(victim.zero()) - victim.logits(victim.zero())).abs().amax(-1)
    samples["right"] = right.double()
    samples |= {f"{DIFFERENCES}.{name}": values for name, values in compared(victim, gradient).items()}
    return {name: values.cpu().double().numpy() for name, values in samples.items()}


def verdicts(
    samples: Samples, *, epsilon: float, strength: Strength, classes: int, black_box: NDArray[np.bool_] | None,
    white_box: NDArray[np.bool_],
) -> list[Check]:  # fmt: skip
    """The verdicts of all checks, from the samples [N] of all examples.

    black_box: which examples [N] the gradient-free search fooled at radius epsilon; None if it was not run.
    white_box: which examples [N] any member that uses gradients fooled there.
    """
    slopes = {name.partition(".")[2]: each for name, each in samples.items() if name.startswith(f"{DIFFERENCES}.")}
    robust = {name: 1 - float(values.mean()) for name, values in samples.items()}
    steps, n = strength.num_steps, len(white_box)

    def gap(name: str, weaker: float, stronger: float, steps: int, meaning: str) -> Check:
        observed = stronger - weaker
        return Check(name, observed <= SLACK, observed, epsilon, steps, meaning)

    def none(name: str, sampled: str, meaning: str) -> Check:
        observed = float(samples[sampled].max() if sampled == "changed" else samples[sampled].mean())
        return Check(name, observed == 0, observed, 0.0, 0, meaning)  # NaN fails

    checks = [
        gap("more_steps", robust["same"], robust["more"], 2 * steps, "accuracy under twice the steps minus under once"),
        gap("iterated", robust["single"], robust["same"], steps, "accuracy under all steps minus under one step"),
        gap("gradient", robust["random"], robust["same"], steps, "accuracy under gradients minus under random noise"),
        Check("unbounded", robust["unbounded"] <= 1 / classes, robust["unbounded"], UNBOUNDED, steps,
              f"accuracy at a radius of {UNBOUNDED:g} embeddings; chance is {1 / classes:.3f}"),
        none("finite", "non_finite", "share of examples with logits or gradients that are not finite"),
        none("nonzero_gradient", "zero_gradient", "share of examples whose clean gradient is exactly zero"),
        none("logits", "probabilities", "share of examples whose scores are probabilities"),
        none("no_dropout", "changed", "largest difference between two clean passes"),
        Check(DIFFERENCES, disagreement(slopes) <= WRONG, disagreement(slopes), 0.0, 0,
              "relative distance of the gradient from finite differences of the loss"),
    ]  # fmt: skip
    if black_box is not None:
        only_black = float(black_box.sum() - (black_box & white_box).sum()) / n
        meaning = "share of examples that only the gradient-free search fools"
        checks.append(Check("white_box", only_black <= SLACK, only_black, epsilon, steps, meaning))
    return checks


def _fooled(victim: Victim, gradient: Tensor, right: Tensor, ball: Ball, member: Member, strength: Strength) -> Tensor:
    fooled = ~right
    standing = right.nonzero().flatten()
    if len(standing):
        trial = Trial(victim.pick(standing), ball, gradient[standing])
        with victim.float32():
            member(trial, strength, 0)
        fooled = fooled.index_copy(0, standing, trial.fooled)
    return fooled


def _random(trial: Trial, strength: Strength, _restart: int) -> None:
    """num_steps random directions of norm epsilon."""
    for number in range(strength.num_steps):
        trial.margins(trial.victim.noise(trial.ball.boundary, strength.seed, number))
