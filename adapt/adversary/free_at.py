"""FreeAT: every pass updates both the model and the perturbation, so adversarial training costs as much as plain."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from adapt.config import Count, NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.free_at"
VERSION = 1
PASSES = 0.0
PASSES_PER_STEP = 1.0


def free_at(step: Step, *, num_steps: Count, step_size: NotNegative) -> Generator[Tensor, None, None]:
    """K times: an optimizer step on l(e + delta), and delta <- Pi(delta + a * unit(g)) from the same backward pass.

    Shafahi et al. (2019), algorithm 1. The paper carries delta on to the next minibatch, because images have one
    shape; the next batch of text has other tokens at other places, so here delta starts at 0 on each batch.

    num_steps: K, the optimizer steps on one batch (the paper's m); step_size: a, in units of epsilon.

    Costs K(F + Bp) per batch; ``length: 1/K`` in the option file makes the training cost as much as plain training.
    The learning rate schedule advances once per batch, and the recorded loss is the sum over the K steps.
    """
    deltas = [view.zero() for view in step]
    for round_ in range(num_steps):
        if round_ > 0:
            step.update()
        for index, view in enumerate(step):
            delta = deltas[index].requires_grad_()
            yield view.loss(delta)
            assert delta.grad is not None
            deltas[index] = view.ball.ascend(delta, delta.grad, step_size)
