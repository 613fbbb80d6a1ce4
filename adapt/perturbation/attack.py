"""Attacks that search for a delta that raises the loss. They see a callable and a ball, never a model.

``losses_at(delta)`` returns the loss of each example, [B]. The inner objective is their sum, so that the gradient of
one example does not depend on the others. Gradients are taken for delta only: no parameter's ``.grad`` is touched,
and the backward pass costs about two thirds of a full one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adapt.perturbation.ball import Ball

KEY_NAME = "perturbation.attack"
VERSION = 1
LossesAt = Callable[[Tensor], Tensor]


def ascend(losses_at: LossesAt, delta: Tensor, *, ball: Ball, step_size: float, num_steps: int) -> Tensor:
    """Take num_steps of delta <- Pi(delta + a * unit(g)) (Madry et al., 2018, equation 2.1); returns the last delta.

    delta: where it starts, [B, L, d]. step_size: a, in units of epsilon. Costs num_steps x (forward pass + backward
    pass to delta).
    """
    for _ in range(num_steps):
        delta = delta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(losses_at(delta).sum(), delta)
        delta = ball.ascend(delta, gradient, step_size)
    return delta.detach()


def attack(losses_at: LossesAt, starts: Sequence[Tensor], *, ball: Ball, step_size: float, num_steps: int) -> Tensor:
    """For each example the delta of the highest loss among all points of the ascents from all starts, starts included.

    Costs len(starts) x (num_steps + 1) forward passes and len(starts) x num_steps backward passes to delta.
    """
    best = starts[0].detach()
    highest = torch.full((len(best),), -torch.inf, device=best.device)

    def watched(delta: Tensor) -> Tensor:
        nonlocal best, highest
        losses = losses_at(delta)
        higher = losses.detach() > highest
        best = torch.where(higher[:, None, None], delta.detach(), best)
        highest = torch.where(higher, losses.detach(), highest)
        return losses

    for start in starts:
        end = ascend(watched, start, ball=ball, step_size=step_size, num_steps=num_steps)
        with torch.no_grad():
            watched(end)
    return best
