"""Random search without gradients. If it succeeds where gradient attacks fail, the model masks its gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapt.perturbation.attack import LossesAt
from adapt.perturbation.ball import Ball

KEY_NAME = "attacks.gradient_free"
VERSION = 1
SHARE = 0.8  # p: the share of elements that the first proposals replace
HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # shares of the queries after which p is halved


def random_search(
    margins_at: LossesAt,
    generators: Sequence[np.random.Generator],
    movable: Tensor,
    zero: Tensor,
    *,
    ball: Ball,
    num_queries: int,
) -> Tensor:
    """The lowest margin [B] by random search on the ball's boundary, after Square Attack (Andriushchenko et al., 2020).

    Each proposal replaces a block of delta with one random direction for all tokens of the block, is put back onto the
    boundary by ball.unit, and is accepted where it lowers the margin. A block is a run of tokens by some dimensions, a
    share p of all elements, which shrinks by the paper's schedule. The first point has one direction for all tokens
    (like the paper's stripes), because a model that pools over tokens responds to what they have in common.

    generators: one per example; movable: the tokens that may be perturbed, [B, L] bool. Costs num_queries forward
    passes.
    """
    places = [np.flatnonzero(row) for row in movable.numpy()]
    raw = np.zeros(zero.shape, dtype=np.float32)
    lowest = torch.full((len(zero),), torch.inf, device=zero.device)
    for query in range(num_queries):
        proposed = raw.copy()
        share = 1.0 if query == 0 else block_share(query / num_queries)
        for row, random in enumerate(generators):
            propose(proposed[row], places[row], random, share)
        proposed_margins = margins_at(ball.radius * ball.unit(torch.from_numpy(proposed).to(zero.device))).detach()
        lower = proposed_margins < lowest
        raw[lower.cpu().numpy()] = proposed[lower.cpu().numpy()]
        lowest = torch.where(lower, proposed_margins, lowest)
    return lowest


def block_share(done: float) -> float:
    """p once this share of the queries is done: .8, halved at each of HALVINGS (the paper's schedule for 10,000)."""
    return SHARE / 2 ** sum(done >= limit for limit in HALVINGS)


def propose(delta: NDArray[np.float32], places: NDArray[np.intp], random: np.random.Generator, share: float) -> None:
    """Replace a block of one example's delta [L, d] in place: a run of its movable tokens by random dimensions."""
    if len(places) == 0:
        return
    width = delta.shape[1]
    tokens = max(1, round(math.sqrt(share) * len(places)))
    columns = max(1, min(width, round(share * len(places) / tokens * width)))
    first = int(random.integers(len(places) - tokens + 1))
    dimensions = random.permutation(width)[:columns]
    block = np.ix_(places[first : first + tokens], dimensions)
    delta[block] = random.standard_normal(columns)
