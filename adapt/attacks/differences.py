"""Whether the gradient that attacks follow is that of the loss: compared with central finite differences.

A wrong gradient (of layers whose kernel has none, of a detached path) makes every attack weak, and no check that
compares attacks with each other notices. The directions are of two kinds: the gradient on a random half of its
coordinates, along which the loss changes most, so that a gradient that points elsewhere is seen through the rounding of
16 bits; and random ones, in which a part of the gradient that is missing shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from adapt.attacks.victim import Victim

KEY_NAME = "attacks.differences"
VERSION = 1
DIRECTIONS = 3  # of each kind
STEP = 0.05  # length of the larger step, in median embedding norms; the smaller is half of it
DOUBT = 2.0  # times how far the two steps disagree is allowed: rounding and curvature show there
KINDS = ("gradient", "random")
SEED = 1_000_003  # so that no direction is the noise of an attack


def compared(victim: Victim, gradient: Tensor) -> dict[str, Tensor]:
    """Squared sums over the directions of each kind, [B] each: ``<kind>.error``, ``.doubt`` and ``.size``.

    gradient: of the cross-entropy at delta = 0, [B, L, d]. error: between the slope that the gradient says and the one
    that the smaller step finds. doubt: between the slopes of the two steps. size: of the larger of the two slopes.
    Costs 8 DIRECTIONS forward passes.
    """
    sums = {f"{kind}.{name}": torch.zeros(len(victim.labels)) for kind in KINDS for name in ("error", "doubt", "size")}
    gradient = gradient * victim.mask
    for kind in KINDS:
        for number in range(DIRECTIONS):
            direction = _direction(victim, gradient, kind, number)
            said = (gradient * direction).flatten(1).sum(1)
            large, small = (_slope(victim, direction, length * victim.length) for length in (STEP, STEP / 2))
            sums[f"{kind}.error"] += (said - small).square().cpu()
            sums[f"{kind}.doubt"] += (large - small).square().cpu()
            sums[f"{kind}.size"] += torch.maximum(said.abs(), small.abs()).square().cpu()
    return sums


def disagreement(samples: Mapping[str, NDArray[np.float64]]) -> float:
    """How far the gradient is from the finite differences, as a share of them: 0 if within the doubt; NaN stays NaN.

    samples: what ``compared`` returned, over all examples [N].
    """
    shares = []
    for kind in KINDS:
        error, doubt, size = (float(np.sqrt(samples[f"{kind}.{name}"].sum())) for name in ("error", "doubt", "size"))
        beyond = error - DOUBT * doubt
        shares.append(0.0 if size == 0 else beyond / size if beyond > 0 or np.isnan(beyond) else 0.0)
    return max(shares)


def _direction(victim: Victim, gradient: Tensor, kind: str, number: int) -> Tensor:
    """A direction of length 1 for each example, [B, L, d]; 0 where the gradient is."""
    if kind == "random":
        drawn = victim.noise(lambda random, *shape: random.standard_normal(shape, dtype=np.float32), SEED, number)
    else:
        half = victim.noise(lambda random, *shape: (random.random(shape) < 0.5).astype(np.float32), SEED, number)
        drawn = gradient * half
    length = drawn.flatten(1).norm(dim=1).clamp(min=1e-30)
    return drawn / length[:, None, None]


def _slope(victim: Victim, direction: Tensor, step: float) -> Tensor:
    """The central finite difference [B] of the cross-entropy at delta = 0."""
    with torch.no_grad():
        ahead, behind = (
            cross_entropy(victim.logits(sign * step * direction).double(), victim.labels, reduction="none")
            for sign in (1.0, -1.0)
        )
    return ((ahead - behind) / (2 * step)).float()
