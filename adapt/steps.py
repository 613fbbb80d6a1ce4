"""One optimizer step as a training method sees it: micro-batch views that give losses at a perturbation.

A method is a generator over a step. It yields losses, the training loop runs the backward pass of each, and a delta
that is a leaf of the yielded loss then has its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from adapt.adversary.ball import Ball
from adapt.adversary.perturbation import evaluating, find_embedding, median_norm, perturbed, token_mask
from adapt.config import ConfigError
from adapt.objectives import Batch, Objective

VERSION = 1
DROPOUT = ("same", "fresh", "off")


@dataclass
class Counts:
    """What a step has cost, in full passes over its batch, and the gradients of examples that were not finite."""

    forward_passes: float
    backward_passes: float
    delta_backward_passes: float
    skipped_examples: int


class Step:
    """The micro-batches of one optimizer step; iterate over it for a View of each.

    A view's loss is its examples' losses over the items (examples, predicted tokens) of the whole step, so that the
    yielded losses of a step add up to one mean, however it is cut.

    world_items: the items of this step over all processes, where there are several; they are then ``processes``
    many, whose gradients the loop averages.
    dropout: the mask in all passes over a view. ``same``: every pass draws the one mask again; ``fresh``: each pass
    draws its own; ``off``: inner passes run in evaluation mode, and passes for a yielded loss draw their own.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        micro_batches: Sequence[Batch],
        *,
        seed: int,
        step_number: int,
        ball: Ball | None,
        dropout: str,
        update: Callable[[], None],
        world_items: int | None = None,
        processes: int = 1,
    ) -> None:
        if dropout not in DROPOUT:
            raise ConfigError(f"adversary.dropout is {dropout!r}: must be one of {', '.join(DROPOUT)}")
        self.model = model
        self.inner_model = model.module if isinstance(model, DistributedDataParallel) else model
        self.objective = objective
        self.seed = seed
        self.step_number = step_number
        self.dropout = dropout
        self.update = update
        self.views = [View(self, batch) for batch in micro_batches]
        self.examples = sum(len(view.batch["input_ids"]) for view in self.views)
        self.loss_weight = processes / (world_items or sum(objective.items(batch) for batch in micro_batches))
        self.passed = {"forward": 0, "backward": 0, "delta_backward": 0}  # examples
        self._ball = ball

    def __iter__(self) -> Iterator[View]:
        return iter(self.views)

    @cached_property
    def embedding(self) -> nn.Embedding:
        """The module whose output is perturbed."""
        batch = self.views[0].batch
        forward = partial(self.objective.example_losses, self.inner_model, batch)
        return find_embedding(self.inner_model, batch["input_ids"], forward)

    @cached_property
    def ball(self) -> Ball:
        """The ball with its radius as a length, measured on the weights that this step starts from."""
        if self._ball is None:
            raise ConfigError("adversary.ball is null: this method perturbs, and needs epsilon, norm and scope")
        return self._ball.absolute(median_norm(self.embedding) if self._ball.relative else 1.0)

    @property
    def counts(self) -> Counts:
        """What the step has cost so far."""
        passes = {f"{kind}_passes": examples / self.examples for kind, examples in self.passed.items()}
        return Counts(**passes, skipped_examples=int(self.ball.skipped) if "ball" in vars(self) else 0)


class View:
    """One micro-batch of a step, and the losses of its examples at a perturbation delta [B, L, d]."""

    def __init__(self, step: Step, batch: Batch) -> None:
        self.step = step
        self.batch = batch
        self._draws = 0
        self._random_state: list[Tensor] | None = None

    def loss(self, delta: Tensor | None = None) -> Tensor:
        """This view's share of the step's mean loss at delta (None: clean): a scalar for the method to yield."""
        loss = self._example_losses(self.step.model, delta).sum() * self.step.loss_weight
        self._count_backward(loss, "backward")
        return loss

    def losses_at(self, delta: Tensor) -> Tensor:
        """Losses [B] for an attack's inner steps: not weighted, without gradient synchronisation."""
        with evaluating(self.step.inner_model) if self.step.dropout == "off" else nullcontext():
            losses = self._example_losses(self.step.inner_model, delta)
        self._count_backward(losses, "delta_backward")
        return losses

    def zero(self) -> Tensor:
        """No perturbation: [B, L, d] float32."""
        shape = (*self.batch["input_ids"].shape, self.step.embedding.embedding_dim)
        return torch.zeros(shape, device=self.batch["input_ids"].device)

    def uniform(self) -> Tensor:
        """A random point of the ball for each example, [B, L, d]; a new one at each call."""
        return self._draw(self.step.ball.uniform)

    def boundary(self) -> Tensor:
        """A random direction of norm epsilon for each example, [B, L, d]; a new one at each call."""
        return self._draw(self.step.ball.boundary)

    @cached_property
    def mask(self) -> Tensor:
        """1.0 at the tokens that may be perturbed, [B, L, 1]."""
        return token_mask(self.batch, special_tokens=self.step.ball.special_tokens)

    def _example_losses(self, model: nn.Module, delta: Tensor | None) -> Tensor:
        self.step.passed["forward"] += len(self.batch["input_ids"])
        if self.step.dropout == "same":
            self._replay_random_state()
        with nullcontext() if delta is None else perturbed(self.step.embedding, delta, self.mask):
            return self.step.objective.example_losses(model, self.batch)

    def _count_backward(self, losses: Tensor, kind: str) -> None:
        def count(_gradient: Tensor) -> None:
            self.step.passed[kind] += len(self.batch["input_ids"])

        if losses.requires_grad:
            losses.register_hook(count)

    def _draw(self, sample: Callable[[np.random.Generator, int, int], NDArray[np.float32]]) -> Tensor:
        """Noise at the tokens that may move, for each example from (seed, step, example id, draw) alone."""
        noise = self.zero().cpu()
        movable = self.mask.squeeze(-1).bool().cpu()
        for row, example in enumerate(self.batch["example_ids"].tolist()):
            random = np.random.default_rng([self.step.seed, self.step.step_number, example, self._draws])
            values = sample(random, int(movable[row].sum()), noise.shape[-1])
            noise[row, movable[row]] = torch.from_numpy(values)
        self._draws += 1
        return noise.to(self.batch["input_ids"].device)

    def _replay_random_state(self) -> None:
        """Set torch's generators back to where the first pass over this view found them."""
        kind = self.batch["input_ids"].device.type
        if self._random_state is None:
            self._random_state = [torch.get_rng_state()]
            if kind != "cpu":
                self._random_state.append(torch.get_device_module(kind).get_rng_state())
        else:
            torch.set_rng_state(self._random_state[0])
            if kind != "cpu":
                torch.get_device_module(kind).set_rng_state(self._random_state[1])
