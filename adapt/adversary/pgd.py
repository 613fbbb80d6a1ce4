"""PGD: several small steps up the loss, each projected back into the ball; the model is trained at the last point."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

from adapt.config import ConfigError, Count, CountOrZero, NotNegative
from adapt.perturbation.attack import ascend, attack

if TYPE_CHECKING:
    from adapt.training.step import Step

KEY_NAME = "adversary.pgd"
VERSION = 2
PASSES = 1.33
PASSES_PER_STEP = 0.67


def pgd(
    step: Step, *, num_steps: Count, step_size: NotNegative, clean_weight: NotNegative, random_starts: CountOrZero
) -> Generator[Tensor, None, None]:
    """c * l(e) + l(e + delta_K), delta <- Pi(delta + a * unit(g)) (Madry et al., 2018, equation 2.1).

    num_steps: K; step_size: a, in units of epsilon; clean_weight: c.
    random_starts: 0 starts at delta = 0, 1 at a random point of the ball; with more than one, each example takes the
    delta of its highest loss on any of the paths.

    Starting from zero, costs (K+1)F + K Bi + Bp; with a clean term, whose backward pass gives the first gradient,
    (K+1)F + (K-1)Bi + 2Bp. With R > 1 random starts, (R(K+1)+1)F + RK Bi + Bp, and F + Bp more with a clean term.
    """
    if num_steps < 1:
        raise ConfigError(f"adversary.method.num_steps is {num_steps}: must be 1 or more")
    for view in step:
        start, left = view.zero(), num_steps
        if clean_weight > 0:
            yield clean_weight * view.loss(start.requires_grad_())
            if random_starts == 0:
                assert start.grad is not None
                start, left = view.ball.ascend(start, start.grad, step_size), num_steps - 1
        starts = [view.uniform() for _ in range(random_starts)] or [start]
        if len(starts) == 1:
            delta = ascend(view.losses_at, starts[0], ball=view.ball, step_size=step_size, num_steps=left)
        else:
            delta = attack(view.losses_at, starts, ball=view.ball, step_size=step_size, num_steps=left)
        yield view.loss(delta)
