"""SMART and ALUM as their authors released them: the perturbation is rescaled to a fixed size, not projected."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adapt.adversary.divergence import kl
from adapt.config import ConfigError, Count, NotNegative

if TYPE_CHECKING:
    from adapt.training.step import Step

KEY_NAME = "adversary.smart_as_released"
VERSION = 1
PASSES = 2.0
PASSES_PER_STEP = 0.67
TINY = 1e-6  # as in the release, in all three places


def smart_as_released(
    step: Step, *, weight: NotNegative, num_steps: Count, step_size: NotNegative, noise: float, inner: str
) -> Generator[Tensor, None, None]:
    """l(e) + w * [KL(p' || q) + KL(q' || p)], p = p(e), q = p(e + delta); a prime marks a detached distribution.

    delta starts at noise * N(0, 1); num_steps of delta <- epsilon * (delta + eta * g) / (||delta + eta * g|| + 1e-6).
    With epsilon 1 this is the release of SMART (namisan/mt-dnn, mt_dnn/perturbation.py at 3228e7c) and of ALUM
    (alum/adv_masked_lm.py there); the ball's norm and scope are its norm_p and norm_level. As eta * g is small beside
    the noise, delta is close to noise of norm epsilon in a random direction. There is no teacher.

    weight: w; step_size: eta, and noise, are lengths in the embedding's own units, not shares of epsilon.
    inner: what g is the gradient of: ``log_odds`` (SMART, see :func:`log_odds_gap`) or ``kl``, KL(p' || q) (ALUM).
    Not as released: ALUM perturbs after the embedding's LayerNorm and keeps the perturbed pass from training the
    embedding; here, as in SMART's release, delta is added to the word embedding, which learns from both passes.
    A g that is not finite is dropped for its example only, not for the batch. Costs as much as SMART without a teacher.
    """
    if inner not in INNER:
        raise ConfigError(f"adversary.method.inner is {inner!r}: must be one of {', '.join(INNER)}")
    for view in step:
        clean = view.forward().logits
        delta = noise * view.normal()
        for _ in range(num_steps):
            delta.requires_grad_()
            gap = INNER[inner](clean.detach(), view.inner(delta).logits)
            (gradient,) = torch.autograd.grad(gap.sum(), delta)
            delta = delta.detach() + step_size * view.ball.finite(gradient)
            delta = view.ball.radius * delta / (view.ball.size(delta) + TINY)
        moved = view.forward(delta).logits
        apart = kl(clean.detach(), moved) + kl(moved.detach(), clean)
        yield view.share_of_mean(view.cross_entropy(clean) + weight * apart)


def log_odds_gap(p: Tensor, q: Tensor) -> Tensor:
    """2 * sum over classes of q * [o(q) - o(p)], [P], where o(x) = log(x / (1 - x)) is detached.

    The release's stand-in for a divergence (mt_dnn/loss.py, stable_kl): only the q in front has a gradient.
    """
    p, q = p.softmax(-1), q.softmax(-1)
    odds_p, odds_q = (-(1 / (x.detach() + TINY) - 1 + TINY).clamp(min=TINY**2).log() for x in (p, q))
    return 2 * (q * (odds_q - odds_p)).sum(-1)


INNER = {"log_odds": log_odds_gap, "kl": kl}
