"""Auto-PGD: projected gradient ascent that halves its step size by itself, and the losses that it ascends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adapt.perturbation.attack import LossesAt
from adapt.perturbation.ball import Ball

KEY_NAME = "attacks.apgd"
VERSION = 1
MOMENTUM = 0.75  # alpha of algorithm 1
RISES = 0.75  # rho: a smaller share of rising steps since the last checkpoint halves the step
CLASSES_OF_DLR = 3


def apgd(losses_at: LossesAt, start: Tensor, *, ball: Ball, num_steps: int) -> Tensor:
    """For each example the delta of the highest loss that the ascent visited: [B, L, d] (Croce and Hein, 2020, alg. 1).

    z = Pi(x_k + eta * unit(g)), x_{k+1} = Pi(x_k + .75 (z - x_k) + .25 (x_k - x_{k-1})), eta = 2 epsilon at first. At
    each checkpoint an example halves its step and goes on from its best point if its loss rose in fewer than 75% of the
    steps since the last checkpoint (condition 1), or if its step and its best loss are still those of the last
    checkpoint (condition 2).

    losses_at: delta -> losses [B], to be raised; their sum is differentiated. Costs (num_steps + 1) F + num_steps Bi
    (F: forward passes, Bi: backward passes to the input).
    """
    steps = start.new_full((len(start), 1, 1), 2 * ball.radius)
    rises = start.new_zeros(len(start))
    halved = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    loss, gradient = _loss_and_gradient(losses_at, start)
    before = delta = best = start.detach()
    best_loss, best_gradient, last_best_loss = loss, gradient, loss
    last, marks = 0, checkpoints(num_steps)
    for step in range(1, num_steps + 1):
        z = ball.project(delta + steps * ball.unit(gradient))
        momentum = MOMENTUM if step > 1 else 1.0
        moved = ball.project(delta + momentum * (z - delta) + (1 - momentum) * (delta - before))
        before, delta, loss_before = delta, moved, loss
        if step == num_steps:
            loss = losses_at(delta).detach()  # no step follows, so no gradient is needed
        else:
            loss, gradient = _loss_and_gradient(losses_at, delta)
        rises += loss > loss_before
        higher = loss > best_loss
        best, best_loss = _where(higher, delta, best), torch.where(higher, loss, best_loss)
        best_gradient = _where(higher, gradient, best_gradient)
        if step in marks:
            stuck = ~halved & (best_loss <= last_best_loss)  # neither eta nor the best loss has changed since
            halved = (rises < RISES * (step - last)) | stuck
            steps = _where(halved, steps / 2, steps)
            delta, gradient = _where(halved, best, delta), _where(halved, best_gradient, gradient)
            loss = torch.where(halved, best_loss, loss)
            last_best_loss, rises, last = best_loss, torch.zeros_like(rises), step
    return best


def checkpoints(num_steps: int) -> list[int]:
    """w_j = ceil(p_j num_steps) with p_0 = 0, p_1 = .22, p_{j+1} = p_j + max(p_j - p_{j-1} - .03, .06) (section 3)."""
    before, share, steps = 0.0, 0.22, []
    while share <= 1:
        steps.append(math.ceil(round(share * num_steps, 6)))  # .22 x 50 is 11, not 12
        before, share = share, share + max(share - before - 0.03, 0.06)
    return steps


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """z_y - max over i != y of z_i, [B]: by how much the label leads; below 0 where another class leads."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return logits.gather(1, labels[:, None]).squeeze(1) - others.amax(1)


def difference_of_logits_ratios(logits: Tensor, labels: Tensor) -> Tensor:
    """DLR = -(z_y - max over i != y of z_i) / (z_1st - z_3rd), [B], with z_1st >= z_2nd >= z_3rd the largest logits.

    Croce and Hein (2020, equation 6): invariant to shift and scale of the logits, so that a large scale cannot mask
    the gradient. Needs three classes: with two, z_1st - z_3rd does not exist, and z_1st - z_2nd would make it -1 or 1.
    """
    assert logits.shape[1] >= CLASSES_OF_DLR, "DLR needs three classes"
    largest = logits.topk(CLASSES_OF_DLR, dim=1).values
    return -margins(logits, labels) / (largest[:, 0] - largest[:, -1] + torch.finfo(logits.dtype).tiny)


def _loss_and_gradient(losses_at: LossesAt, delta: Tensor) -> tuple[Tensor, Tensor]:
    delta = delta.detach().requires_grad_()
    losses = losses_at(delta)
    (gradient,) = torch.autograd.grad(losses.sum(), delta)
    return losses.detach(), gradient


def _where(rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(rows[:, None, None], one, other)
