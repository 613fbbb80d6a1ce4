"""AWP: the gradient is taken at weights that were perturbed up the loss, and is applied to the unperturbed weights."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adapt.training.sharding import gathered

if TYPE_CHECKING:
    from adapt.config import NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.awp"
VERSION = 1
PASSES = 2.0
PERTURBS = False


def awp(step: Step, *, gamma: NotNegative) -> Generator[Tensor, None, None]:
    """l at w + v, with v = gamma * ||w|| * g / ||g|| for each layer (Wu et al., 2020, section 4, with one step).

    g is the gradient of l over the whole step (all micro-batches and processes) and is dropped once v is known: only
    the gradient at w + v trains the model. w is restored exactly before the optimizer's step. The norms are over a
    layer's weight matrix, also for the word embeddings. Biases and normalisations are not perturbed, nor is a matrix
    that is zero (LoRA's B at the start). The paper perturbs inputs too; here they are clean.

    gamma: ||v|| in units of ||w||. Costs 2F + 2Bp, and the memory of one more copy of the trained matrices.
    """
    for view in step:
        yield view.loss()
    moved = {}
    for name, weight in step.parameters.items():
        if weight.ndim >= 2 and weight.grad is not None:
            moved[name] = weight.detach() + gamma * gathered(weight.detach().norm()) * _unit(weight.grad)
        weight.grad = None
    with step.weights(moved):
        for view in step:
            yield view.loss()


def _unit(gradient: Tensor) -> Tensor:
    """g / ||g|| over a whole matrix; zero where g is zero or not finite."""
    largest = gathered(gradient.abs().amax())
    if not (torch.isfinite(largest) and largest > 0):
        return torch.zeros_like(gradient)
    rescaled = gradient / largest
    return rescaled / gathered(rescaled.norm())
