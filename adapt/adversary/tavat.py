"""TAVAT: FreeLB with an additional perturbation per vocabulary token, which is remembered from batch to batch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from adapt.perturbation.ball import Ball
from adapt.training import processes

if TYPE_CHECKING:
    from adapt.config import Count, NotNegative
    from adapt.training.step import Step

KEY_NAME = "adversary.tavat"
VERSION = 1
PASSES = 0.0
PASSES_PER_STEP = 1.0


def tavat(step: Step, *, num_steps: Count, step_size: NotNegative, init: NotNegative) -> Generator[Tensor, None, None]:
    """The mean over k < K of l(e + delta_k + eta_k), both parts climbing its gradient g (Li & Qiu, 2021, algorithm 1).

    delta_0 = U(-1, 1) * init * epsilon / sqrt(N d) belongs to the example, eta_0^i = V[w_i] to the token: V is a table
    of the vocabulary that starts as U(-1, 1) * init * epsilon / sqrt(d). A step is :func:`climb`. After K steps, V[w]
    is the mean of eta_K^i over all positions i of the step (all micro-batches and processes) where w stands, so that
    neither the order of the examples nor the split into batches matters; the paper does not say which position counts.

    The sum delta + eta is inside the ball from the start: the model sees only the sum, and the authors' code projects
    the sum, too.

    num_steps: K; step_size: a, and init, in units of epsilon. Costs K(F + Bp), and V x d numbers in the checkpoint.
    """
    table = token_table(step, init)
    sums, places = torch.zeros_like(table), torch.zeros_like(table[:, :1])
    for view in step:
        ids = view.batch["input_ids"]
        delta, tokens = into_ball(view.ball, init * view.cube(), table[ids] * view.mask)
        for _ in range(num_steps):
            delta.requires_grad_()
            yield view.loss(delta) / num_steps
            assert delta.grad is not None
            delta, tokens = climb(view.ball, delta, tokens, delta.grad, step_size)
        sums.index_add_(0, ids.flatten(), (tokens * view.mask).flatten(0, 1))
        places.index_add_(0, ids.flatten(), view.mask.flatten(0, 1))
    processes.add_up(sums, places)
    step.memory["token_perturbations"] = torch.where(places > 0, sums / places.clamp(min=1), table)


def tavat_as_released(
    step: Step, *, num_steps: Count, step_size: NotNegative, init: NotNegative, token_norm: NotNegative
) -> Generator[Tensor, None, None]:
    """TAVAT as in the authors' code (github.com/LinyangLee/Token-Aware-VAT, token_vat.py, commit ef5b427).

    It rescales what it reads from V so that the norm over the whole micro-batch is token_norm (1 there, whatever
    epsilon is), does not project the start, adds up the K losses without dividing by K, makes K - 1 steps, and adds
    eta_{K-1} to V after each micro-batch, once for every position of a token. One difference: here padding is left out
    of the norms and of V; there it is part of both.

    token_norm: in units of epsilon, as init and step_size (a). Costs K(F + Bp), and V x d numbers in the checkpoint.
    """
    table = token_table(step, init)
    for view in step:
        ids = view.batch["input_ids"]
        tokens = table[ids] * view.mask
        tokens = tokens * (token_norm * view.ball.radius / tokens.norm().clamp(min=1e-12))
        delta = init * view.cube() + tokens
        for index in range(num_steps):
            delta.requires_grad_()
            yield view.loss(delta)
            if index < num_steps - 1:
                assert delta.grad is not None
                delta, tokens = climb(view.ball, delta, tokens, delta.grad, step_size)
        table.index_put_((ids,), tokens * view.mask, accumulate=True)


def token_table(step: Step, init: float) -> Tensor:
    """V [vocabulary, d] from the step's memory; at first U(-1, 1) * init * epsilon / sqrt(d), drawn from the seed."""
    if "token_perturbations" not in step.memory:
        width = step.embedding.embedding_dim
        random = np.random.default_rng(step.seed)
        noise = random.uniform(-1, 1, (step.embedding.num_embeddings, width)) * init * step.ball.radius / width**0.5
        device = step.views[0].batch["input_ids"].device
        step.memory["token_perturbations"] = torch.from_numpy(noise.astype(np.float32)).to(device)
    table: Tensor = step.memory["token_perturbations"]
    return table


def climb(ball: Ball, delta: Tensor, tokens: Tensor, gradient: Tensor, step_size: float) -> tuple[Tensor, Tensor]:
    """One ascent step of delta and its token part; returns both, [B, L, d]. delta: the sum, which holds ``tokens``.

    The example's part: delta <- delta + a * unit(g) over the ball's scope. The tokens' part: eta^i <- n^i * (eta^i +
    a * g^i / ||g^i||) at each token, where n^i = ||eta^i|| / max_j ||eta^j|| after the step, so that tokens that moved
    little move less. Then the sum is projected into the ball. In token scope every n^i is 1.
    """
    reach, own = step_size * ball.radius, replace(ball, scope="token")
    example = delta.detach() - tokens + reach * ball.unit(gradient)
    tokens = tokens + reach * own.unit(gradient)
    sizes = own.size(tokens)
    largest = ball.largest(sizes)
    return into_ball(ball, example, tokens * sizes / torch.where(largest > 0, largest, 1.0))


def into_ball(ball: Ball, example: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Pi(example + tokens), and the share of ``tokens`` in it."""
    whole = example + tokens
    inside = ball.project(whole)
    return inside, tokens * torch.where(whole == 0, 1.0, inside / whole)
