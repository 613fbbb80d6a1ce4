"""How a trained classifier answers under attack, on a grid of radii."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adapt.adversary.attack import attack
from adapt.adversary.ball import Ball
from adapt.adversary.perturbation import evaluating, find_embedding, median_norm, perturbed, token_mask
from adapt.objectives import Batch, Classification

VERSION = 1
REACH = 2.5  # num_steps x step size in units of epsilon (Madry et al., 2018): enough to cross the ball and come back


def robust_predictions(
    model: nn.Module, batch: Batch, *, ball: Ball, epsilons: Iterable[float], num_steps: int
) -> dict[float, Tensor]:
    """The worst answer [B] that the attack got for each example at each radius; a right label means it held.

    PGD on the cross-entropy from delta = 0, num_steps steps of 2.5 epsilon / num_steps, without dropout. An example
    counts as fooled by any point on the way, and by its clean prediction. The radii go upwards, and whoever was fooled
    at a smaller one stays so (that delta lies in the larger ball as well) with the answer it gave then, so accuracy
    never rises with epsilon. An answer depends neither on the rest of the batch nor on its padding.

    ball: its epsilon is replaced by each of ``epsilons``, in the same units: relative means this model's own median
    embedding norm. Costs F + Bi for the first gradient, which all radii share, and for each radius num_steps F +
    (num_steps - 1) Bi of the examples that still stand.
    """
    with evaluating(model):
        embedding = find_embedding(model, batch["input_ids"], partial(Classification().logits, model, batch))
        length = median_norm(embedding) if ball.relative else 1.0
        zero = torch.zeros(*batch["input_ids"].shape, embedding.embedding_dim, device=batch["labels"].device)
        logits = _logits_at(model, batch, embedding, ball, zero.requires_grad_())
        (gradient,) = torch.autograd.grad(cross_entropy(logits, batch["labels"], reduction="sum"), zero)
        answers, found = logits.argmax(-1), {}
        for epsilon in sorted(epsilons):
            standing = (answers == batch["labels"]).nonzero().flatten()
            if len(standing):
                attacked = {name: value[standing] for name, value in batch.items()}
                resized = replace(ball, epsilon=epsilon).absolute(length)
                start = resized.ascend(zero[standing], gradient[standing], REACH / num_steps)
                worst = _worst(model, attacked, embedding, resized, start, num_steps)
                answers = answers.index_copy(0, standing, worst)
            found[epsilon] = answers
        return found


def _worst(
    model: nn.Module, batch: Batch, embedding: nn.Embedding, ball: Ball, start: Tensor, num_steps: int
) -> Tensor:
    """The first wrong answer [B] that the attack gets after its first step, which led to ``start``; or the label."""
    labels = batch["labels"]
    answers = labels

    def losses_at(delta: Tensor) -> Tensor:
        nonlocal answers
        logits = _logits_at(model, batch, embedding, ball, delta)
        answers = torch.where(answers == labels, logits.argmax(-1), answers)
        return cross_entropy(logits, labels, reduction="none")

    attack(losses_at, [start], ball=ball, step_size=REACH / num_steps, num_steps=num_steps - 1)
    return answers


def _logits_at(model: nn.Module, batch: Batch, embedding: nn.Embedding, ball: Ball, delta: Tensor) -> Tensor:
    with perturbed(embedding, delta, token_mask(batch, special_tokens=ball.special_tokens)):
        return Classification().logits(model, batch).float()
