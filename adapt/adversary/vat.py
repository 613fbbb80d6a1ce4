"""VAT, virtual adversarial training: the prediction should not change in the direction in which it changes most."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adapt.adversary.divergence import kl

if TYPE_CHECKING:
    from adapt.config import Count, NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.vat"
VERSION = 1
PASSES = 2.0
PASSES_PER_STEP = 0.67


def vat(step: Step, *, weight: NotNegative, num_steps: Count, xi: float) -> Generator[Tensor, None, None]:
    """l(e) + w * KL(p(e) || p(e + epsilon * d)), with p(e) detached (Miyato et al., 2018, equations 5 to 7).

    KL has gradient 0 at 0, so d, the top eigenvector of its Hessian there, is found by power iteration:
    d <- unit(gradient of KL(p(e) || p(e + xi * d))) from d = unit(N(0, 1)) (section 3.3). The second term uses no
    label. weight: w; num_steps: iterations; xi: the length of the finite difference, in units of epsilon (a smaller one
    is closer to the Hessian, but also to float32's rounding). Any dropout but ``same`` adds a divergence of its own,
    whose gradient at 0 is not 0. Costs (2 + num_steps)F + num_steps Bi + 2Bp.
    """
    for view in step:
        clean = view.forward().logits
        direction = view.ball.unit(view.normal())
        for _ in range(num_steps):
            delta = (xi * view.ball.radius * direction).requires_grad_()
            (gradient,) = torch.autograd.grad(kl(clean.detach(), view.inner(delta).logits).sum(), delta)
            direction = view.ball.unit(gradient)
        moved = view.forward(view.ball.radius * direction).logits
        yield view.share_of_mean(view.cross_entropy(clean) + weight * kl(clean.detach(), moved))
