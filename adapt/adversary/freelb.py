"""FreeLB: every step of the ascent also trains the model, so that each batch is seen at K perturbations."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from adapt.config import Count, NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.freelb"
VERSION = 1
PASSES = 0.0
PASSES_PER_STEP = 1.0


def freelb(
    step: Step, *, num_steps: Count, step_size: NotNegative, init: NotNegative, bounded: bool
) -> Generator[Tensor, None, None]:
    """The mean over k < K of l(e + delta_k), with delta_{k+1} = Pi(delta_k + a * unit(g_k)) (Zhu et al., 2020, alg. 1).

    delta_0 = U(-1, 1) * init * epsilon / sqrt(N d) for an example of N tokens. There is no clean pass, and the
    gradient reaches the embeddings at every pass. This follows algorithm 1; the authors' fairseq code makes one pass
    more.

    num_steps: K; step_size: a, and init, in units of epsilon; bounded: false leaves Pi out, so that delta may leave the
    ball in its K - 1 steps; with many steps that is FreeLB++ (Li et al., 2021). Costs K(F + Bp).
    """
    for view in step:
        delta = view.ball.project(init * view.cube())
        for _ in range(num_steps):
            delta.requires_grad_()
            yield view.loss(delta) / num_steps
            assert delta.grad is not None
            moved = delta.detach() + step_size * view.ball.radius * view.ball.unit(delta.grad)
            delta = view.ball.project(moved) if bounded else moved
