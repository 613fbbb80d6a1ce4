"""FGM, the fast gradient method: one step to the edge of the ball, along the gradient of the clean loss."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from adapt.config import NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.fgm"
VERSION = 2
PASSES = 2.0


def fgm(step: Step, *, weight: NotNegative) -> Generator[Tensor, None, None]:
    """l(e) + w * l(e + epsilon * unit(g)), with g the gradient of l at e (Miyato et al., 2017, equation 5).

    weight: w. The backward pass of the clean loss gives g for free. With an linf ball this is FGSM. Costs 2F + 2Bp.
    """
    for view in step:
        delta = view.zero().requires_grad_()
        yield view.loss(delta)
        assert delta.grad is not None
        yield weight * view.loss(view.ball.radius * view.ball.unit(delta.grad))
