"""The control for FGM: a step of the same norm in a random direction."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from adapt.config import NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.random_direction"
VERSION = 1
PASSES = 2.0


def random_direction(step: Step, *, weight: NotNegative) -> Generator[Tensor, None, None]:
    """l(e) + w * l(e + epsilon * u), with u uniform on the unit sphere.

    weight: w. Shows how much of FGM's effect remains without its gradient. Costs 2F + 2Bp.
    """
    for view in step:
        yield view.loss()
        yield weight * view.loss(view.boundary())
