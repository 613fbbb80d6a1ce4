"""R3F: the prediction should not change under random noise; there is no search for a worst case."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from torch import Tensor

from adapt.adversary.divergence import symmetric_kl
from adapt.config import ConfigError, NotNegative

if TYPE_CHECKING:
    from adapt.training.step import Step

KEY_NAME = "adversary.r3f"
VERSION = 1
PASSES = 2.0
NOISES = ("uniform", "normal")


def r3f(step: Step, *, weight: NotNegative, noise: str) -> Generator[Tensor, None, None]:
    """l(e) + w * S(p(e), p(e + z)), S the sum of both KL directions (Aghajanyan et al., 2021, equations 3 and 4).

    weight: w. noise: ``uniform``, z a random point of the ball (linf: U(-epsilon, epsilon) for each element), or
    ``normal``, N(0, epsilon^2) for each element, which no ball bounds. Costs 2F + 2Bp.
    """
    if noise not in NOISES:
        raise ConfigError(f"adversary.method.noise is {noise!r}: must be one of {', '.join(NOISES)}")
    for view in step:
        z = view.uniform() if noise == "uniform" else view.ball.radius * view.normal()
        clean = view.forward().logits
        yield view.share_of_mean(view.cross_entropy(clean) + weight * symmetric_kl(clean, view.forward(z).logits))
