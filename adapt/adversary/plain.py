"""No adversary: the baseline that every method is compared to."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

from adapt.training.method import Adversary

if TYPE_CHECKING:
    from adapt.training.step import Step

KEY_NAME = "adversary.plain"
VERSION = 1
PASSES = 1.0
PERTURBS = False


def plain(step: Step) -> Generator[Tensor, None, None]:
    """Ordinary training on l(e). Costs F + Bp."""
    for view in step:
        yield view.loss()


PLAIN = Adversary(plain, None, "fresh", False)
