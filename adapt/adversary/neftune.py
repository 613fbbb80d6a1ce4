"""NEFTune: uniform noise on the embeddings, and nothing else."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from adapt.training.step import Step

KEY_NAME = "adversary.neftune"
VERSION = 1
PASSES = 1.0


def neftune(step: Step) -> Generator[Tensor, None, None]:
    """l(e + delta), delta = U(-1, 1) * alpha / sqrt(L d) (Jain et al., 2024, algorithm 1).

    alpha is the ball's epsilon (l2, sequence scope). L is an example's own length, so that its noise does not depend
    on the padding; implementations that take the width of the padded batch weaken the noise of short examples.
    Costs F + Bp.
    """
    for view in step:
        yield view.loss(view.cube())
