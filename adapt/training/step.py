"""One optimizer step as a training method sees it: micro-batch views, the ball, memory that outlives the step.

A method is a generator over a step. It yields losses, the training loop runs the backward pass of each, and a delta
that is a leaf of the yielded loss then has its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from adapt.config import ConfigError
from adapt.perturbation.ball import Ball
from adapt.perturbation.embeddings import collect_hidden, evaluating, find_embedding, median_norm, perturbed, token_mask
from adapt.training import processes
from adapt.training.method import Adversary
from adapt.training.objectives import Batch, Objective, by_example
from adapt.training.sharding import forget_whole, is_sharded, whole_weights

KEY_NAME = "training.step"
VERSION = 2
ROUNDING = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}  # half the spacing of numbers near 1
Sampler = Callable[[np.random.Generator, int, int], NDArray[np.float32]]


@dataclass
class Counts:
    """What a step has cost, in full passes over its batch, and the gradients of examples that were not finite."""

    forward_passes: float
    backward_passes: float
    delta_backward_passes: float
    skipped_examples: int


class Step:
    """The micro-batches of one optimizer step; iterate over it for a View of each.

    A view's loss is its items' losses over the items (examples, predicted tokens) of the whole step, so that the
    yielded losses of a step add up to one mean, however it is cut.

    elapsed: the share of the training that is over, from 0 to 1.
    memory: what a method keeps from step to step (a teacher's weights, a table of perturbations): tensors and dicts of
    tensors under names of its own. It is part of the checkpoint.
    stored: kept embeddings [tokens, d] by example id, for a method that trains on them.
    precision: of the passes under mixed precision, 16 bits; None where they are in the weights' own.
    fillers: how many of the micro-batches, the last ones, only keep this process in step with the others: they weigh
    nothing, are not perturbed and count for nothing.
    Where several processes share the step, the loop averages their gradients.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        micro_batches: Sequence[Batch],
        *,
        adversary: Adversary,
        seed: int,
        step_number: int,
        update: Callable[[], None],
        elapsed: float = 0.0,
        memory: dict[str, Any] | None = None,
        stored: Mapping[int, Tensor] | None = None,
        fillers: int = 0,
        precision: torch.dtype | None = None,
    ) -> None:
        self.model = model
        self.inner_model = model.module if isinstance(model, DistributedDataParallel) else model
        self.objective = objective
        self.adversary = adversary
        self.seed = seed
        self.step_number = step_number
        self.update = update
        self.elapsed = elapsed
        self.precision = precision
        self.memory = {} if memory is None else memory
        self.stored = {} if stored is None else stored
        real = len(micro_batches) - fillers
        self.views = [View(self, batch, filler=place >= real) for place, batch in enumerate(micro_batches)]
        self.examples = sum(len(batch["input_ids"]) for batch in micro_batches[:real])
        self.tokens = sum(int(batch["attention_mask"].sum()) for batch in micro_batches[:real])
        self.items = processes.total(sum(objective.items(batch) for batch in micro_batches[:real]))[0]
        self.loss_weight = processes.count() / self.items
        self.passed = {"forward": 0, "backward": 0, "delta_backward": 0}  # examples
        self.deltas: list[tuple[Tensor, Tensor]] = []

    def __iter__(self) -> Iterator[View]:
        return iter(self.views)

    @cached_property
    def embedding(self) -> nn.Embedding:
        """The module whose output is perturbed."""
        batch = self.views[0].batch
        forward = partial(self.objective.logits, self.inner_model, batch)
        return find_embedding(self.inner_model, batch["input_ids"], forward)

    @cached_property
    def ball(self) -> Ball:
        """The ball with its radius as a length, measured on the weights that this step starts from."""
        ball = self.adversary.ball
        if ball is None:
            raise ConfigError("adversary.ball is null: this method perturbs, and needs epsilon, norm and scope")
        precision = None if self.adversary.float32 else self.precision
        embedding = self.embedding
        with whole_weights(self.inner_model):
            length = median_norm(embedding) if ball.relative or precision else 1.0
        absolute = ball.absolute(length)
        if precision is not None:
            refuse_rounding(absolute, length, embedding.embedding_dim, precision)
        return absolute

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The weights that are trained, by name; of a sharded model this process's parts."""
        forget_whole(self.inner_model)
        return {name: weight for name, weight in self.inner_model.named_parameters() if weight.requires_grad}

    @contextmanager
    def weights(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Within the block, the trained weights of these names have these values; afterwards their own, to the bit."""
        parameters = {name: self.parameters[name] for name in values}
        if is_sharded(self.inner_model):  # whose passes gather the storage of its parts, whatever stands in ``data``
            own = {name: weight.detach().clone() for name, weight in parameters.items()}
        else:
            own = {name: weight.data for name, weight in parameters.items()}
        try:
            self._put(parameters, values)
            yield
        finally:
            self._put(parameters, own)

    @torch.no_grad()
    def _put(self, parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
        for name, weight in parameters.items():
            if is_sharded(self.inner_model):
                weight.copy_(values[name])
            else:
                weight.data = values[name]
        forget_whole(self.inner_model)
        torch.clear_autocast_cache()  # an autocast around several passes keeps the 16-bit copies of other values

    def log_delta(self, view: View, delta: Tensor) -> None:
        """Note the size of a delta that a loss is taken at: ||delta|| / ||e|| [B] and its norm in the ball's terms."""
        embeddings = view.embeddings()  # of a sharded model all processes gather it, fillers too
        if view.filler:
            return
        with torch.no_grad():
            moved = delta.detach() * view.mask
            there = (embeddings * view.mask).flatten(1).norm(dim=1).clamp(min=1e-12)
            self.deltas.append((moved.flatten(1).norm(dim=1) / there, view.ball.size(moved).flatten(1).amax(1)))

    @property
    def counts(self) -> Counts:
        """What the step has cost so far."""
        mine = self.ball.skipped if "ball" in vars(self) else 0
        examples, skipped, *passed = processes.total(self.examples, mine, *self.passed.values())
        passes = {f"{kind}_passes": number / examples for kind, number in zip(self.passed, passed, strict=True)}
        return Counts(**passes, skipped_examples=int(skipped))

    def adversary_report(self) -> dict[str, float]:
        """How the perturbations of this step's losses lay, over its examples; empty where nothing was perturbed.

        delta_norm_p10, _p50, _p90: quantiles of ||delta|| / ||e||. delta_at_boundary: the share whose norm is epsilon.
        ascent_gain: cross-entropy at the last perturbation tried less that at the first point, where both were taken.
        """
        nothing = torch.empty(0)
        risen = [view.ascent_gain for view in self.views if view.ascent_gain is not None]
        gains = processes.gathered(torch.stack(risen) if risen else nothing)
        report = {"ascent_gain": float(gains.mean())} if len(gains) else {}
        lists = zip(*self.deltas, strict=True) if self.deltas else ([nothing], [nothing])
        ratios, sizes = (processes.gathered(torch.cat(parts)) for parts in lists)
        if not (moved := ratios > 0).any():
            return report
        tenths = ratios[moved].quantile(torch.tensor([0.1, 0.5, 0.9], device=ratios.device)).tolist()
        report |= dict(zip(("delta_norm_p10", "delta_norm_p50", "delta_norm_p90"), tenths, strict=True))
        at_boundary = (sizes[moved] >= self.ball.radius * (1 - 1e-4)).float().mean()
        return report | {"delta_at_boundary": float(at_boundary)}


def refuse_rounding(ball: Ball, embedding_norm: float, width: int, precision: torch.dtype) -> None:
    """Raise ConfigError where adding an element of delta to one of an embedding would mostly be rounded away.

    An embedding's element is about embedding_norm / sqrt(d); delta's is epsilon (linf) or at most epsilon / sqrt(d).
    """
    if ball.epsilon == 0:
        return
    share = ball.epsilon / embedding_norm * (width**0.5 if ball.norm == "linf" else 1.0)
    if share < ROUNDING.get(precision, 0.0):
        raise ConfigError(
            f"adversary.ball.epsilon={ball.epsilon:g} (absolute) vanishes in {precision}: it moves an embedding by "
            f"{share:.1g} of its size; set adversary.float32=true, or optimizer.precision=no"
        )


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
                stack.enter_context(collect_hidden(self.step.inner_model, found.hidden))
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
