"""SMART: predictions that do not change under the worst perturbation, and weights that stay near their own average."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adapt.adversary.divergence import symmetric_kl
from adapt.perturbation.attack import ascend

if TYPE_CHECKING:
    from adapt.config import Count, NotNegative, Share
    from adapt.training.step import Step, View

KEY_NAME = "adversary.smart"
VERSION = 1
PASSES = 2.33
PASSES_PER_STEP = 0.67


def smart(
    step: Step,
    *,
    weight: NotNegative,
    num_steps: Count,
    step_size: NotNegative,
    noise: float,
    teacher_weight: NotNegative,
    early_beta: Share,
    late_beta: Share,
    early_share: Share,
) -> Generator[Tensor, None, None]:
    """l(e) + w * max over the ball of S(p(e), p(e + delta)) + m * S(p(e), teacher's p(e)), S the symmetric KL.

    SMART (Jiang et al., 2020, section 3 and algorithm 1); without a teacher, ALUM (Liu et al., 2020, algorithm 1).
    delta starts at Pi(sigma * N(0, 1)) and takes num_steps of delta <- Pi(delta + a * unit(g)). The papers step by
    a * g, but at their sigma of 1e-5 g is just as small, and such a step hardly moves delta: unit(g) keeps only the
    direction.

    weight: w; noise: sigma, and step_size: a, both in units of epsilon; teacher_weight: m, 0 for no teacher.
    The teacher's weights are a moving average of the trained ones, updated at the start of each step, with early_beta
    during the first early_share of the training and late_beta after it. Its pass has no gradient and uses the
    ``dropout`` of the inner passes: with ``same`` it has the student's mask, so that only the weights differ.

    Costs (2 + num_steps)F + num_steps Bi + 2Bp, and F more with a teacher.
    """
    teacher = None
    if teacher_weight > 0:
        teacher = follow(step, early_beta if step.elapsed <= early_share else late_beta)
    for view in step:
        clean = view.forward().logits
        start = view.ball.project(noise * view.ball.radius * view.normal())
        inner = partial(divergences, view, clean.detach())
        delta = ascend(inner, start, ball=view.ball, step_size=step_size, num_steps=num_steps)
        losses = view.cross_entropy(clean) + weight * symmetric_kl(clean, view.forward(delta).logits)
        if teacher is not None:
            with torch.no_grad(), step.weights(teacher):
                taught = view.inner(None).logits
            losses = losses + teacher_weight * symmetric_kl(clean, taught)
        yield view.share_of_mean(losses)


def divergences(view: View, clean: Tensor, delta: Tensor) -> Tensor:
    """S(p(e), p(e + delta)) of each item, [P]; only delta gets a gradient. clean: the logits of p(e), detached."""
    return symmetric_kl(clean, view.inner(delta).logits)


@torch.no_grad()
def follow(step: Step, beta: float) -> dict[str, Tensor]:
    """The teacher's weights, beta * teacher + (1 - beta) * trained (equation 4); at first the trained ones."""
    if "teacher" not in step.memory:
        step.memory["teacher"] = {name: weight.detach().clone() for name, weight in step.parameters.items()}
    teacher: dict[str, Tensor] = step.memory["teacher"]
    for name, weight in step.parameters.items():
        teacher[name].lerp_(weight, 1 - beta)
    return teacher
