"""One micro-batch of an optimizer step, as a training method sees it: forward passes at a perturbation, and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from adapt.adversary.ball import Ball
from adapt.adversary.perturbation import evaluating, keep_hidden, perturbed, token_mask
from adapt.objectives import Batch, by_example
from adapt.sharding import whole_weights

if TYPE_CHECKING:
    from adapt.steps import Step

KEY_NAME = "views"
VERSION = 1
Sampler = Callable[[np.random.Generator, int, int], NDArray[np.float32]]


@dataclass
class Pass:
    """What one forward pass gave."""

    logits: Tensor
    """[P, C] float32: a row an item, which is an example or a predicted token; empty where losses were asked for."""
    hidden: list[Tensor]
    """The encoder's last hidden states [B, L, H], alone in the list where they were asked for."""
    losses: Tensor
    """Cross-entropies [P] in nats of the items, where they were asked for in place of logits; else empty."""


class View:
    """One micro-batch; delta is [B, L, d], float32, at the output of the word embedding.

    filler: it only keeps its process in step with the others (``Step``), and nothing in it moves or counts.
    """

    def __init__(self, step: Step, batch: Batch, *, filler: bool = False) -> None:
        self.step = step
        self.batch = batch
        self.filler = filler
        self._draws = 0
        self._losses_met: list[Tensor] = []
        self._random_state: list[Tensor] | None = None

    # Passes ---------------------------------------------------------------------------------------------------------

    def forward(self, delta: Tensor | None = None, *, hidden: bool = False, losses: bool = False) -> Pass:
        """The model at delta (None: clean), for a loss to yield. hidden: keep the last hidden states too.

        losses: cross-entropies in place of logits, which a large vocabulary then never fills memory with.
        """
        if delta is not None:
            self.step.log_delta(self, delta)
        return self._pass(self.step.model, delta, "backward", hidden, losses)

    def inner(self, delta: Tensor | None, *, hidden: bool = False, losses: bool = False) -> Pass:
        """The model at delta, for a gradient to delta alone: without gradient synchronisation, and by ``dropout``."""
        with evaluating(self.step.inner_model) if self.step.adversary.dropout == "off" else nullcontext():
            return self._pass(self.step.inner_model, delta, "delta_backward", hidden, losses)

    def loss(self, delta: Tensor | None = None) -> Tensor:
        """This view's share of the step's mean cross-entropy at delta: a scalar to yield."""
        return self.mean(self._met(self.forward(delta, losses=True).losses))

    def losses_at(self, delta: Tensor) -> Tensor:
        """Cross-entropies [B] for an attack's inner steps: summed over an example's items, not weighted."""
        return by_example(self.step.objective, self.batch, self._met(self.inner(delta, losses=True).losses))

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """-log p(right class) of each item, [P], in nats."""
        return self._met(cross_entropy(logits, self.step.objective.targets(self.batch), reduction="none"))

    def mean(self, values: Tensor) -> Tensor:
        """Values [P] of the items as this view's share of their mean over the whole step."""
        return values.sum() * (0.0 if self.filler else self.step.loss_weight)

    @property
    def ascent_gain(self) -> Tensor | None:
        """Mean cross-entropy where it was last taken less where it was first taken; None before the second time."""
        return self._losses_met[-1] - self._losses_met[0] if len(self._losses_met) > 1 and not self.filler else None

    # Perturbations --------------------------------------------------------------------------------------------------

    @cached_property
    def ball(self) -> Ball:
        """The step's ball; in document scope it knows which documents share a row (``document_ids`` of the batch)."""
        return self.step.ball.of_documents(self.batch.get("document_ids"))

    @cached_property
    def mask(self) -> Tensor:
        """1.0 at the tokens that may be perturbed, [B, L, 1]."""
        movable = token_mask(self.batch, special_tokens=self.step.ball.special_tokens)
        return torch.zeros_like(movable) if self.filler else movable

    @torch.no_grad()
    def embeddings(self) -> Tensor:
        """The word embeddings that delta is added to, [B, L, d] float32, cut off from the graph."""
        embedding = self.step.embedding
        with whole_weights(self.step.inner_model):
            return embedding(self.batch["input_ids"]).float()

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

    def cube(self) -> Tensor:
        """U(-1, 1) * epsilon / sqrt(N d) for each example of N tokens, [B, L, d] (``Ball.cube``)."""
        return self._draw(self.step.ball.cube)

    def normal(self) -> Tensor:
        """N(0, 1), [B, L, d]; a new draw at each call."""
        return self._draw(lambda random, *shape: random.standard_normal(shape).astype(np.float32))

    def stored(self) -> tuple[Tensor, Tensor]:
        """Kept embeddings less the model's own, [B, L, d], and 1.0 for each example that has one, [B]; else zero."""
        delta, own = self.zero(), self.embeddings()
        real, kept = self.batch["attention_mask"].bool(), torch.zeros(len(delta), device=delta.device)
        for row, example in enumerate(self.batch["example_ids"].tolist()):
            if example in self.step.stored:
                delta[row, real[row]] = self.step.stored[example].to(delta) - own[row, real[row]]
                kept[row] = 1.0
        return delta * self.mask, kept

    def _draw(self, sample: Sampler) -> Tensor:
        """Noise at the tokens that may move, for each example from (seed, step, example id, draw) alone."""
        noise = self.zero().cpu()
        movable = self.mask.squeeze(-1).bool().cpu()
        documents = self.ball.documents
        for row, example in enumerate(self.batch["example_ids"].tolist()):
            random = np.random.default_rng([self.step.seed, self.step.step_number, example, self._draws])
            groups = [movable[row]]
            if documents is not None:
                groups = [movable[row] & (documents[row].cpu() == each) for each in documents[row].unique().tolist()]
            for tokens in groups:
                noise[row, tokens] = torch.from_numpy(sample(random, int(tokens.sum()), noise.shape[-1]))
        self._draws += 1
        return noise.to(self.batch["input_ids"].device)

    def _met(self, losses: Tensor) -> Tensor:
        self._losses_met.append(losses.detach().mean())
        return losses

    def _pass(self, model: torch.nn.Module, delta: Tensor | None, kind: str, hidden: bool, losses: bool) -> Pass:
        self._count("forward")
        if self.step.adversary.dropout == "same":
            self._replay_random_state()
        found = Pass(torch.empty(0), [], torch.empty(0))
        with ExitStack() as stack:
            if self.step.adversary.float32:
                stack.enter_context(full_precision(self.step.inner_model, self.batch["input_ids"].device.type))
            if delta is not None:
                stack.enter_context(perturbed(self.step.embedding, delta, self.mask))
            if hidden:
                stack.enter_context(keep_hidden(self.step.inner_model, found.hidden))
            if losses:
                found.losses = self.step.objective.losses(model, self.batch)
            else:
                found.logits = self.step.objective.logits(model, self.batch).float()
        self._count_backward(found.losses if losses else found.logits, kind)
        return found

    def _count_backward(self, answer: Tensor, kind: str) -> None:
        if answer.requires_grad:
            answer.register_hook(lambda _gradient: self._count(kind))

    def _count(self, kind: str) -> None:
        """A pass over the batch's examples, forward, backward or delta_backward."""
        if not self.filler:
            self.step.passed[kind] += len(self.batch["input_ids"])

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


@contextmanager
def full_precision(model: torch.nn.Module, device: str) -> Iterator[None]:
    """Within the block, passes run in float32 under mixed precision: the weights are float32 there, only ops are cast.

    accelerate wraps ``model.forward`` in autocast as an attribute of the instance; without it the class's is called.
    """
    wrapped = vars(model).pop("forward", None)
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        if wrapped is not None:
            vars(model)["forward"] = wrapped
