"""Searches for the smallest perturbation that makes the answer wrong, in the norm of the ball."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from adapt.perturbation.attack import LossesAt
from adapt.perturbation.ball import Ball

KEY_NAME = "attacks.minimal_norm"
VERSION = 1
RADIUS_CHANGE = (0.3, 0.001)  # gamma at the first and the last step; .3 recovers from a first estimate far too large
STEP = (1.0, 0.01)  # alpha, in units of the current radius
SMALLEST, LARGEST = 1e-12, 1e12  # radii between which everything stays a float32


def minimal_norm(margins_at: LossesAt, zero: Tensor, *, ball: Ball, num_steps: int) -> Tensor:
    """For each example the norm of the smallest delta found with a margin below 0: [B], infinite where none was found.

    Fast minimum-norm attack (Pintor et al., 2021, algorithm 1): it descends the margin within a radius epsilon, which
    each example has of its own. Epsilon shrinks by gamma (and to at most the best norm so far) when the point is
    adversarial, and grows by gamma when it is not. Before the first adversarial point, epsilon is where the linearised
    margin crosses zero, ||delta|| + margin / ||g||_*. FMN is used rather than DDN (Rony et al., 2019), which is for l2
    only: FMN needs just the dual norm ||g||_* = <g, unit(g)>, which every norm and scope of the ball has.

    Differences from the paper: the step is alpha * epsilon along ball.unit, because an embedding has no box by which to
    scale alpha; and the linear estimate is multiplied by (1 + gamma), so that it lies beyond the boundary, not on it.

    ball: only its norm and scope are used, not its radius. Costs (num_steps + 1) F + num_steps Bi (F: forward passes,
    Bi: backward passes to the input).
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
    """margin / ||g||_*; 0 where the gradient is zero or not finite and gives no direction."""
    return torch.where(dual_norm > 0, margins / dual_norm, 0.0)
