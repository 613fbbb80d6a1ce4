"""The worst case of several attacks for each example, on a grid of radii."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from adapt.attacks.apgd import CLASSES_OF_DLR, apgd
from adapt.attacks.gradient_free import random_search
from adapt.attacks.minimal_norm import minimal_norm
from adapt.attacks.victim import Passes, Trial, Victim
from adapt.perturbation.attack import attack
from adapt.perturbation.ball import Ball

KEY_NAME = "attacks.ensemble"
VERSION = 1
REACH = 2.5  # num_steps x step size of PGD, in epsilon (Madry et al., 2018): enough to cross the ball and come back


@dataclass
class Strength:
    """How hard the members (attacks of the ensemble) try; the same for every model that is compared.

    restarts: rounds at each radius, the first from delta = 0 and the others from random points; each round attacks the
    examples that are not fooled yet. cascade: a member attacks only examples that no earlier member has fooled, as in
    AutoAttack (Croce & Hein, 2020). That gives the worst case at a fraction of the cost, but no accuracy for each
    member. seed: of all noise, together with the number of the round and the example's id.
    """

    num_steps: int
    restarts: int = 1
    minimal_norm_steps: int | None = None
    gradient_free_queries: int | None = None
    seed: int = 0
    cascade: bool = False


Member = Callable[[Trial, Strength, int], object]


def _start(trial: Trial, strength: Strength, restart: int) -> Tensor:
    return trial.victim.noise(trial.ball.uniform, strength.seed, restart) if restart else trial.victim.zero()


def _pgd(trial: Trial, strength: Strength, restart: int) -> None:
    """PGD on the cross-entropy, with steps of 2.5 epsilon / num_steps; the gradient at delta = 0 is known already."""
    start, left = _start(trial, strength, restart), strength.num_steps
    if restart == 0:
        start, left = trial.ball.ascend(start, trial.gradient, REACH / left), left - 1
    step_size = REACH / strength.num_steps
    attack(trial.cross_entropies, [start], ball=trial.ball, step_size=step_size, num_steps=left)


def _apgd_ce(trial: Trial, strength: Strength, restart: int) -> None:
    apgd(trial.cross_entropies, _start(trial, strength, restart), ball=trial.ball, num_steps=strength.num_steps)


def _apgd_dlr(trial: Trial, strength: Strength, restart: int) -> None:
    losses_at = trial.difference_of_logits_ratios
    apgd(losses_at, _start(trial, strength, restart), ball=trial.ball, num_steps=strength.num_steps)


def _gradient_free(trial: Trial, strength: Strength, restart: int) -> None:
    assert strength.gradient_free_queries is not None
    victim = trial.victim
    random_search(
        trial.margins,
        victim.generators(strength.seed, restart),
        victim.movable(),
        victim.zero(),
        ball=trial.ball,
        num_queries=strength.gradient_free_queries,
    )


def _minimal_norm(trial: Trial, strength: Strength, _restart: int) -> None:
    assert strength.minimal_norm_steps is not None
    minimal_norm(trial.margins, trial.victim.zero(), ball=trial.ball, num_steps=strength.minimal_norm_steps)


MINIMAL_NORM = "minimal_norm"  # runs once, and finds the smallest radius itself; the others run at each radius
MEMBERS: dict[str, Member] = {
    "pgd": _pgd,
    "apgd_ce": _apgd_ce,
    "apgd_dlr": _apgd_dlr,
    MINIMAL_NORM: _minimal_norm,
    "gradient_free": _gradient_free,
}


@dataclass
class MemberResult:
    """What one member found for each example; radii in the units of the grid, on the CPU in float64.

    epsilon: the smallest radius of the grid at which the example was fooled, 0 if its clean answer is wrong already,
    infinite if it was never fooled. answer: the first wrong answer at that radius, or the label. norm: the size of the
    smallest perturbation that gave a wrong answer. nearest: that answer. An attack at one radius may visit a point that
    lies within a smaller one, so norm <= epsilon.
    """

    epsilon: Tensor
    answer: Tensor
    norm: Tensor
    nearest: Tensor
    passes: Passes = field(default_factory=Passes)
    seconds: float = 0.0

    def take(self, rows: Tensor, trial: Trial, unit: float, epsilon: float | None, grid: list[float]) -> None:
        """Note what a trial on ``rows`` found at radius epsilon (None: any); ``unit``: the length of radius 1."""
        fooled = trial.fooled.cpu()
        rows = rows.cpu()[fooled]
        norm = trial.norm.cpu()[fooled].double() / unit
        if epsilon is None:
            radii = torch.tensor([*grid, torch.inf], dtype=torch.float64)
            self.epsilon[rows] = radii[torch.searchsorted(radii, norm)]
            within = norm <= grid[-1]
            self.answer[rows[within]] = trial.nearest.cpu()[fooled][within]
        else:
            norm = norm.clamp(max=epsilon)  # rounding in the projection must not put a point outside its ball
            self.epsilon[rows] = epsilon
            self.answer[rows] = trial.first.cpu()[fooled]
        nearer = norm < self.norm[rows]
        self.nearest[rows[nearer]] = trial.nearest.cpu()[fooled][nearer]
        self.norm[rows[nearer]] = norm[nearer]


def usable(members: Iterable[str], num_classes: int) -> list[str]:
    """The members that work with this number of classes: DLR needs at least three."""
    return [name for name in members if name != "apgd_dlr" or num_classes >= CLASSES_OF_DLR]


def clean_state(victim: Victim) -> tuple[Tensor, Tensor]:
    """Logits [B, C] and the gradient [B, L, d] of the cross-entropy at delta = 0.

    Costs one forward pass and one backward pass to the input.
    """
    zero = victim.zero().requires_grad_()
    with victim.float32():
        logits = victim.logits(zero)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, victim.labels, reduction="sum"), zero)
    return logits.detach(), gradient


def worst_case(
    victim: Victim, clean: tuple[Tensor, Tensor], members: list[str], *, ball: Ball, epsilons: Iterable[float],
    strength: Strength,
) -> dict[str, MemberResult]:  # fmt: skip
    """What each member finds for each example, at the radii of the grid in ascending order.

    An example that was fooled at a smaller radius stays fooled, since that delta lies in the larger ball too. It is not
    attacked again by this member (in a cascade, by any member), so batches shrink to the examples that are not fooled
    yet. Without a cascade the members run independently, so that the accuracy under each is known; the ensemble takes
    the smallest norm over the members. An answer depends neither on the rest of the batch nor on its padding.

    clean: what clean_state returns. ball: its epsilon is replaced by each of ``epsilons``, in the same units.
    """
    grid = sorted({0.0, *epsilons})
    unit = victim.length if ball.relative else 1.0
    logits, gradient = clean
    answers = logits.argmax(-1).cpu()
    wrong = answers != victim.labels.cpu()
    clean_norm = torch.where(wrong, 0.0, torch.inf).double()
    results: dict[str, MemberResult] = {}
    for name in members:
        earlier = [other.norm for other in results.values()] if strength.cascade else []
        earlier_norm = torch.stack([clean_norm, *earlier]).amin(0)
        results[name] = result = MemberResult(clean_norm.clone(), answers.clone(), clean_norm.clone(), answers.clone())
        before, started = replace(victim.passes), time.monotonic()
        radii: list[float | None] = [None] if name == MINIMAL_NORM else [epsilon for epsilon in grid if epsilon > 0]
        for epsilon in radii:
            resized = replace(ball, epsilon=1.0 if epsilon is None else epsilon).absolute(victim.length)
            for restart in range(1 if epsilon is None else strength.restarts):
                stands = result.epsilon.isinf() & (torch.tensor(epsilon is None) | (earlier_norm > (epsilon or 0.0)))
                standing = stands.nonzero().flatten().to(victim.labels.device)
                if len(standing):
                    trial = Trial(victim.pick(standing), resized, gradient[standing])
                    with victim.float32():
                        MEMBERS[name](trial, strength, restart)
                    result.take(standing, trial, unit, epsilon, grid)
        result.passes.forward = victim.passes.forward - before.forward
        result.passes.backward = victim.passes.backward - before.backward
        result.seconds = time.monotonic() - started
    return results
