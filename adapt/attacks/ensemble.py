"""The worst case for each example over several attacks, on a grid of radii."""

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
REACH = 2.5  # num_steps x step size of PGD in epsilon (Madry et al., 2018): enough to cross the ball and come back


@dataclass
class Strength:
    """How hard the members try: the same for every model that is compared.

    restarts: rounds at each radius, the first from delta = 0 and the others from random points; each attacks the
    examples that still stand. cascade: a member attacks only those that no member before it has fooled, as in
    AutoAttack (Croce & Hein, 2020): the worst case at a fraction of the cost, but no accuracy of a member's own.
    seed: of all noise, with the number of the round and the example's id.
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
    """PGD on the cross-entropy, steps of 2.5 epsilon / num_steps; the first gradient at zero is known already."""
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


MINIMAL_NORM = "minimal_norm"  # searches once, for the radius itself; the others once for each radius
MEMBERS: dict[str, Member] = {
    "pgd": _pgd,
    "apgd_ce": _apgd_ce,
    "apgd_dlr": _apgd_dlr,
    MINIMAL_NORM: _minimal_norm,
    "gradient_free": _gradient_free,
}


@dataclass
class Found:
    """What one member found for each example; radii in the units of the grid, on the CPU in float64.

    epsilon: the smallest radius of the grid at which it fell, 0 where the clean answer is wrong already, infinite
    where it never fell. answer: the first wrong answer there, or the label. norm: the size of the smallest
    perturbation among all that gave a wrong answer, nearest: that answer. An attack at one radius may come by a
    point of a smaller one, so norm <= epsilon.
    """

    epsilon: Tensor
    answer: Tensor
    norm: Tensor
    nearest: Tensor
    passes: Passes = field(default_factory=Passes)
    seconds: float = 0.0

    def take(self, rows: Tensor, trial: Trial, unit: float, epsilon: float | None, grid: list[float]) -> None:
        """Take over what a trial on ``rows`` found at radius epsilon (None: at any), its sizes in units of ``unit``."""
        fell = trial.fooled.cpu()
        rows = rows.cpu()[fell]
        norm = trial.norm.cpu()[fell].double() / unit
        if epsilon is None:
            radii = torch.tensor([*grid, torch.inf], dtype=torch.float64)
            self.epsilon[rows] = radii[torch.searchsorted(radii, norm)]
            within = norm <= grid[-1]
            self.answer[rows[within]] = trial.nearest.cpu()[fell][within]
        else:
            norm = norm.clamp(max=epsilon)  # the last bit of a projection must not put a point outside its ball
            self.epsilon[rows] = epsilon
            self.answer[rows] = trial.first.cpu()[fell]
        nearer = norm < self.norm[rows]
        self.nearest[rows[nearer]] = trial.nearest.cpu()[fell][nearer]
        self.norm[rows[nearer]] = norm[nearer]


def usable(members: Iterable[str], num_classes: int) -> list[str]:
    """The members that work for so many classes: DLR needs three."""
    return [name for name in members if name != "apgd_dlr" or num_classes >= CLASSES_OF_DLR]


def clean_state(victim: Victim) -> tuple[Tensor, Tensor]:
    """Logits [B, C] and the gradient [B, L, d] of the cross-entropy at delta = 0. Costs F + Bi."""
    zero = victim.zero().requires_grad_()
    with victim.float32():
        logits = victim.logits(zero)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, victim.labels, reduction="sum"), zero)
    return logits.detach(), gradient


def worst_case(
    victim: Victim, clean: tuple[Tensor, Tensor], members: list[str], *, ball: Ball, epsilons: Iterable[float],
    strength: Strength,
) -> dict[str, Found]:  # fmt: skip
    """What each member finds for each example at each radius of the grid, going upward.

    Whoever was fooled at a smaller radius stays so, since that delta lies in the larger ball, and is attacked no more
    by this member (in a cascade by any): batches shrink to the examples that stand. Without a cascade each member is
    run on its own, so that its own accuracy is known; the ensemble's is the smallest norm over members. An answer
    depends neither on the rest of the batch nor on its padding.

    clean: as clean_state gives it. ball: its epsilon is replaced by each of ``epsilons``, in the same units.
    """
    grid = sorted({0.0, *epsilons})
    unit = victim.length if ball.relative else 1.0
    logits, gradient = clean
    answers = logits.argmax(-1).cpu()
    wrong = answers != victim.labels.cpu()
    nothing = torch.where(wrong, 0.0, torch.inf).double()
    results: dict[str, Found] = {}
    for name in members:
        fallen = [other.norm for other in results.values()] if strength.cascade else []
        before_it = torch.stack([nothing, *fallen]).amin(0)
        results[name] = found = Found(nothing.clone(), answers.clone(), nothing.clone(), answers.clone())
        before, started = replace(victim.passes), time.monotonic()
        radii: list[float | None] = [None] if name == MINIMAL_NORM else [epsilon for epsilon in grid if epsilon > 0]
        for epsilon in radii:
            resized = replace(ball, epsilon=1.0 if epsilon is None else epsilon).absolute(victim.length)
            for restart in range(1 if epsilon is None else strength.restarts):
                stands = found.epsilon.isinf() & (torch.tensor(epsilon is None) | (before_it > (epsilon or 0.0)))
                standing = stands.nonzero().flatten().to(victim.labels.device)
                if len(standing):
                    trial = Trial(victim.pick(standing), resized, gradient[standing])
                    with victim.float32():
                        MEMBERS[name](trial, strength, restart)
                    found.take(standing, trial, unit, epsilon, grid)
        found.passes.forward = victim.passes.forward - before.forward
        found.passes.backward = victim.passes.backward - before.backward
        found.seconds = time.monotonic() - started
    return results
