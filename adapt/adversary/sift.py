"""SiFT: SMART's smoothness term with a radius that grows with each token's embedding."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from adapt.adversary.divergence import symmetric_kl
from adapt.config import ConfigError, Count, NotNegative
from adapt.perturbation.attack import ascend

if TYPE_CHECKING:
    from adapt.training.step import Step, View

KEY_NAME = "adversary.sift"
VERSION = 1
PASSES = 2.0
PASSES_PER_STEP = 0.67


def sift(
    step: Step, *, weight: NotNegative, num_steps: Count, step_size: NotNegative, noise: float
) -> Generator[Tensor, None, None]:
    """l(e) + w * S(p(e), p(e + s * delta)), S the symmetric KL, s [B, L, 1] each token's standard deviation over d.

    SiFT (He et al., 2021, section 4). delta is in units of s: it starts at Pi(sigma * N(0, 1)) and takes num_steps of
    Pi(delta + a * unit(g)). weight: w; noise: sigma, and step_size: a, both in units of epsilon, itself in units of s.

    The release (microsoft/DeBERTa, DeBERTa/sift) puts x = word + position + type embeddings through a LayerNorm
    without weights, adds delta there, and then applies the model's own LayerNorm. As LayerNorm is invariant to shift
    and scale, that equals x + std(x) * delta in the unchanged model. Here s is the deviation of the word embedding
    only, so that a model without that LayerNorm needs no change. The release also steps by a * g / max|g| of a token,
    does not project after the step, ascends only on KL(p(e) || .), detaches the distributions that weight the two KLs,
    and keeps the perturbed pass from training the embedding. Costs (2 + num_steps)F + num_steps Bi + 2Bp.
    """
    if step.adversary.ball is not None and step.adversary.ball.relative:
        raise ConfigError("adversary.ball.relative is true: SiFT's epsilon is in units of a token's own deviation")
    for view in step:
        deviation = view.embeddings().std(-1, keepdim=True, correction=0)
        clean = view.forward().logits
        start = view.ball.project(noise * view.ball.radius * view.normal())
        inner = partial(divergences, view, clean.detach(), deviation)
        delta = ascend(inner, start, ball=view.ball, step_size=step_size, num_steps=num_steps)
        moved = view.forward(deviation * delta).logits
        yield view.share_of_mean(view.cross_entropy(clean) + weight * symmetric_kl(clean, moved))


def divergences(view: View, clean: Tensor, deviation: Tensor, delta: Tensor) -> Tensor:
    """S(p(e), p(e + s * delta)) of each item, [P]; only delta gets a gradient. clean: the logits of p(e), detached."""
    return symmetric_kl(clean, view.inner(deviation * delta).logits)
