"""The smallest perturbation that changes the answer, in the ball's own norm."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from adapt.perturbation.attack import LossesAt
from adapt.perturbation.ball import Ball

KEY_NAME = "attacks.minimal_norm"
VERSION = 1
RADIUS_CHANGE = (0.3, 0.001)  # gamma at the first and the last step; .3 forgives a first estimate far too large
STEP = (1.0, 0.01)  # alpha, in units of the current radius
SMALLEST, LARGEST = 1e-12, 1e12  # radii between which everything stays a float32


def minimal_norm(margins_at: LossesAt, zero: Tensor, *, ball: Ball, num_steps: int) -> Tensor:
    """For each example the norm [B] of the smallest delta found with a margin below 0, infinite where none was.

    Fast minimum-norm attack (Pintor et al., 2021, algorithm 1): steps down the margin within a radius epsilon of the
    example's own, which shrinks by gamma when the point is adversarial (and to the best norm so far) and grows by gamma
    when it is not. Before the first adversarial point, epsilon is where the linearised margin crosses zero,
    ||delta|| + margin / ||g||_*. FMN rather than DDN (Rony et al., 2019), which is for l2 alone: it asks only for the
    dual norm ||g||_* = <g, unit(g)>, which every norm and scope of the ball has.

    Other than in the paper: the step is alpha * epsilon along ball.unit, because an embedding has no box to scale
    alpha by, and the linear estimate is taken (1 + gamma) times, so that it lies beyond the boundary and not on it.

    ball: its norm and scope; its radius plays no part. Costs (num_steps + 1) F + num_steps Bi.
    """
    within = replace(ball, epsilon=1.0, relative=False)
    delta = zero.detach()
    smallest = zero.new_full((len(zero),), torch.inf)
    epsilon = smallest
    for step in range(num_steps):
        left = (1 + math.cos(math.pi * step / num_steps)) / 2
        gamma, alpha = (last + (first - last) * left for first, last in (RADIUS_CHANGE, STEP))
        delta = delta.detach().requires_grad_()
        margins = margins_at(delta)
        (gradient,) = torch.autograd.grad(margins.sum(), delta)
        delta, margins = delta.detach(), margins.detach()
        smallest = _smaller(within, delta, margins, smallest)
        down = within.unit(-gradient)
        boundary = _norm(within, delta) + _quotient(margins, -(gradient * down).flatten(1).sum(1))
        grown = torch.where(smallest.isinf(), boundary, epsilon) * (1 + gamma)
        epsilon = torch.where(margins < 0, torch.minimum(epsilon * (1 - gamma), smallest), grown)
        epsilon = epsilon.nan_to_num(SMALLEST).clamp(SMALLEST, LARGEST)
        radius = epsilon[:, None, None]
        delta = radius * within.project(delta / radius + alpha * down)
    with torch.no_grad():
        return _smaller(within, delta, margins_at(delta), smallest)


def _smaller(ball: Ball, delta: Tensor, margins: Tensor, smallest: Tensor) -> Tensor:
    return torch.where(margins < 0, torch.minimum(_norm(ball, delta), smallest), smallest)


def _norm(ball: Ball, delta: Tensor) -> Tensor:
    return ball.size(delta).flatten(1).amax(1)


def _quotient(margins: Tensor, dual_norm: Tensor) -> Tensor:
    """margin / ||g||_*, 0 where the gradient is zero or not finite: there is nowhere to go."""
    return torch.where(dual_norm > 0, margins / dual_norm, 0.0)
