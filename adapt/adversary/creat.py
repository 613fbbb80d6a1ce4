"""CreAT: an attack on the encoder's contextual states, and not only on the prediction."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from adapt.perturbation.attack import ascend
from adapt.training.objectives import by_example

if TYPE_CHECKING:
    from adapt.config import Count, NotNegative
    from adapt.training.step import Step, View

KEY_NAME = "adversary.creat"
VERSION = 1
PASSES = 1.33
PASSES_PER_STEP = 0.67


def creat(
    step: Step, *, num_steps: Count, step_size: NotNegative, init: NotNegative, temperature: NotNegative
) -> Generator[Tensor, None, None]:
    """(l(e) + l(e + delta)) / 2, delta up the gradient of l(e + delta) - T * sum over i of cos(h_i(e + delta), h_i(e)).

    Wu et al. (2023); h_i is the encoder's last hidden state at token i, over the real tokens of an example. The
    cosine has no gradient at delta = 0, where it is largest, so delta starts in a random direction.

    num_steps: K perturbed passes, the last of which is the loss that trains: K - 1 steps of ascent.
    step_size: a of delta <- Pi(delta + a * unit(g)), and init, the norm of the start, in units of epsilon;
    temperature: T.

    Costs (K+1)F + (K-1)Bi + 2Bp.
    """
    for view in step:
        clean = view.forward(hidden=True)
        context = clean.hidden[0].detach()
        yield 0.5 * view.share_of_mean(view.cross_entropy(clean.logits))
        deviation_at = partial(deviation, view, context, temperature=temperature)
        start = view.ball.project(init * view.boundary())
        delta = ascend(deviation_at, start, ball=view.ball, step_size=step_size, num_steps=num_steps - 1)
        yield 0.5 * view.loss(delta)


def creat_as_released(
    step: Step, *, num_steps: Count, step_size: NotNegative, init: NotNegative, temperature: NotNegative
) -> Generator[Tensor, None, None]:
    """CreAT at e + delta_0 + ... + delta_k: the authors' code adds each delta to embeddings that hold the earlier ones.

    github.com/gingasan/CreAT, trainer/creat.py, commit 66b3da4: each delta_{k+1} = Pi(delta_k + a * unit(g_k)) is in
    the ball, but their sum reaches K times as far. delta_0 is N(0, 1) * init * epsilon at each element. Costs as creat.
    """
    for view in step:
        clean = view.forward(hidden=True)
        context = clean.hidden[0].detach()
        yield 0.5 * view.share_of_mean(view.cross_entropy(clean.logits))
        delta = init * view.ball.radius * view.normal()
        total = delta
        for _ in range(num_steps - 1):
            total = total.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(deviation(view, context, total, temperature=temperature).sum(), total)
            delta = view.ball.ascend(delta, gradient, step_size)
            total = total.detach() + delta
        yield 0.5 * view.loss(total)


def deviation(view: View, context: Tensor, delta: Tensor, *, temperature: float) -> Tensor:
    """l(e + delta) - T * sum over real tokens of cos(h(e + delta), context), [B]; context: h(e), [B, L, H]."""
    moved = view.inner(delta, hidden=True)
    losses = by_example(view.step.objective, view.batch, view.cross_entropy(moved.logits))
    cosines = cosine_similarity(moved.hidden[0].float(), context.float(), dim=-1)
    return losses - temperature * (cosines * view.batch["attention_mask"]).sum(1)
