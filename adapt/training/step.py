"""One optimizer step as a training method sees it: views of its micro-batches, the ball, memory kept between steps.

A training method is a generator over a step. It yields losses, and the training loop runs the backward pass of each.
A delta that is a leaf of a yielded loss then has its gradient.
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
ROUNDING = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}  # half the distance between neighbouring numbers near 1
Sampler = Callable[[np.random.Generator, int, int], NDArray[np.float32]]


@dataclass
class Counts:
    """What a step has cost, in full passes over its batch, and how many examples had a gradient that was not finite."""

    forward_passes: float
    backward_passes: float
    delta_backward_passes: float
    skipped_examples: int


class Step:
    """The micro-batches of one optimizer step; iterate over it for a View of each.

    A view's loss is the sum of its items' losses divided by the number of items (examples, predicted tokens) of the
    whole step. The yielded losses of a step therefore add up to one mean, however it is cut into micro-batches.

    elapsed: the share of the training that is over, from 0 to 1.
    memory: what a method keeps from step to step (a teacher's weights, a table of perturbations): tensors and dicts of
    tensors, under names that the method chooses. It is saved in the checkpoint.
    stored: embeddings [tokens, d] by example id, for a method that reads stored perturbations.
    precision: the 16-bit type of the passes under mixed precision; None where passes run in the weights' own type.
    dummies: how many micro-batches, at the end, are only there so that this process runs as many passes as the others.
    They have no weight, are not perturbed and are not counted.
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
        dummies: int = 0,
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
        real = len(micro_batches) - dummies
        self.views = [View(self, batch, dummy=place >= real) for place, batch in enumerate(micro_batches)]
        self.examples = sum(len(batch["input_ids"]) for batch in micro_batches[:real])
        self.tokens = sum(int(batch["attention_mask"].sum()) for batch in micro_batches[:real])
        self.items = processes.total(sum(objective.items(batch) for batch in micro_batches[:real]))[0]
        self.loss_weight = processes.count() / self.items
        self.passed = {"forward": 0, "backward": 0, "delta_backward": 0}  # counted in examples
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
        """The ball with its radius as an absolute length, measured on the weights that this step starts from."""
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
        """The weights that are trained, by name; for a sharded model only the parts that this process holds."""
        forget_whole(self.inner_model)
        return {name: weight for name, weight in self.inner_model.named_parameters() if weight.requires_grad}

    @contextmanager
    def weights(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Within the block, the trained weights of these names have these values; afterwards exactly their own."""
        parameters = {name: self.parameters[name] for name in values}
        if is_sharded(self.inner_model):  # passes read the parts' storage, not ``data``
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
        torch.clear_autocast_cache()  # else autocast reuses 16-bit copies of the former values

    def log_delta(self, view: View, delta: Tensor) -> None:
        """Record the size of a delta that a loss is taken at: ||delta|| / ||e|| [B], and its norm in the ball [B]."""
        embeddings = view.embeddings()  # for dummies too: all processes gather a sharded model together
        if view.dummy:
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
        """Statistics of this step's perturbations over its examples; empty where nothing was perturbed.

        delta_norm_p10, _p50, _p90: quantiles of ||delta|| / ||e||. delta_at_boundary: the share whose norm is epsilon.
        ascent_gain: cross-entropy at the last point tried minus that at the first, where it was taken at both.
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
    """Raise ConfigError where 16-bit rounding would mostly remove delta when it is added to an embedding.

    An element of an embedding is about embedding_norm / sqrt(d); one of delta is epsilon (linf) or at most
    epsilon / sqrt(d).
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
    """The result of one forward pass."""

    logits: Tensor
    """[P, C] float32: one row per item (an example or a predicted token); empty where losses were asked for."""
    hidden: list[Tensor]
    """The encoder's last hidden states [B, L, H] as the only element, if asked for; else an empty list."""
    losses: Tensor
    """Cross-entropies [P] of the items in nats, if asked for instead of logits; else empty."""


class View:
    """One micro-batch; delta is [B, L, d], float32, at the output of the word embedding.

    dummy: a batch that only keeps the processes in step (see ``Step``); it is not perturbed and not counted.
    """

    def __init__(self, step: Step, batch: Batch, *, dummy: bool = False) -> None:
        self.step = step
        self.batch = batch
        self.dummy = dummy
        self._draws = 0
        self._mean_losses: list[Tensor] = []
        self._random_state: list[Tensor] | None = None

    # Passes ---------------------------------------------------------------------------------------------------------

    def forward(self, delta: Tensor | None = None, *, hidden: bool = False, losses: bool = False) -> Pass:
        """A pass at delta (None: clean), for a loss to yield. hidden: also return the last hidden states.

        losses: return cross-entropies instead of logits, which need much memory when the vocabulary is large.
        """
        if delta is not None:
            self.step.log_delta(self, delta)
        return self._pass(self.step.model, delta, "backward", hidden, losses)

    def inner(self, delta: Tensor | None, *, hidden: bool = False, losses: bool = False) -> Pass:
        """A pass at delta for a gradient to delta only: not synchronised between processes; dropout as configured."""
        with evaluating(self.step.inner_model) if self.step.adversary.dropout == "off" else nullcontext():
            return self._pass(self.step.inner_model, delta, "delta_backward", hidden, losses)

    def loss(self, delta: Tensor | None = None) -> Tensor:
        """This view's share of the step's mean cross-entropy at delta: a scalar to yield."""
        return self.share_of_mean(self._note_losses(self.forward(delta, losses=True).losses))

    def losses_at(self, delta: Tensor) -> Tensor:
        """Cross-entropies [B] for the inner steps of an attack: the unweighted sum over each example's items."""
        return by_example(self.step.objective, self.batch, self._note_losses(self.inner(delta, losses=True).losses))

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """-log p(true class) of each item, [P], in nats."""
        return self._note_losses(cross_entropy(logits, self.step.objective.targets(self.batch), reduction="none"))

    def share_of_mean(self, values: Tensor) -> Tensor:
        """What this view's items, with these values [P], contribute to the mean over the whole step: a scalar."""
        return values.sum() * (0.0 if self.dummy else self.step.loss_weight)

    @property
    def ascent_gain(self) -> Tensor | None:
        """Mean cross-entropy at the last point less that at the first; None if it was taken fewer than two times."""
        return self._mean_losses[-1] - self._mean_losses[0] if len(self._mean_losses) > 1 and not self.dummy else None

    # Perturbations --------------------------------------------------------------------------------------------------

    @cached_property
    def ball(self) -> Ball:
        """The step's ball; in document scope it knows the document of each token of a row (``document_ids``)."""
        return self.step.ball.of_documents(self.batch.get("document_ids"))

    @cached_property
    def mask(self) -> Tensor:
        """1.0 at the tokens that may be perturbed, [B, L, 1]."""
        movable = token_mask(self.batch, special_tokens=self.step.ball.special_tokens)
        return torch.zeros_like(movable) if self.dummy else movable

    @torch.no_grad()
    def embeddings(self) -> Tensor:
        """The word embeddings that delta is added to, [B, L, d] float32, detached from the graph."""
        embedding = self.step.embedding
        with whole_weights(self.step.inner_model):
            return embedding(self.batch["input_ids"]).float()

    def zero(self) -> Tensor:
        """No perturbation: zeros [B, L, d] float32."""
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
        """Stored embeddings minus the model's own, [B, L, d], and 1.0 for each example that has them, [B]; else 0."""
        delta, own = self.zero(), self.embeddings()
        real, is_stored = self.batch["attention_mask"].bool(), torch.zeros(len(delta), device=delta.device)
        for row, example in enumerate(self.batch["example_ids"].tolist()):
            if example in self.step.stored:
                delta[row, real[row]] = self.step.stored[example].to(delta) - own[row, real[row]]
                is_stored[row] = 1.0
        return delta * self.mask, is_stored

    def _draw(self, sample: Sampler) -> Tensor:
        """Noise at the tokens that may be perturbed; an example's depends only on (seed, step, example id, draw)."""
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

    def _note_losses(self, losses: Tensor) -> Tensor:
        self._mean_losses.append(losses.detach().mean())
        return losses

    def _pass(self, model: torch.nn.Module, delta: Tensor | None, kind: str, hidden: bool, losses: bool) -> Pass:
        self._count("forward")
        if self.step.adversary.dropout == "same":
            self._replay_random_state()
        result = Pass(torch.empty(0), [], torch.empty(0))
        with ExitStack() as stack:
            if self.step.adversary.float32:
                stack.enter_context(full_precision(self.step.inner_model, self.batch["input_ids"].device.type))
            if delta is not None:
                stack.enter_context(perturbed(self.step.embedding, delta, self.mask))
            if hidden:
                stack.enter_context(collect_hidden(self.step.inner_model, result.hidden))
            if losses:
                result.losses = self.step.objective.losses(model, self.batch)
            else:
                result.logits = self.step.objective.logits(model, self.batch).float()
        self._count_backward(result.losses if losses else result.logits, kind)
        return result

    def _count_backward(self, output: Tensor, kind: str) -> None:
        if output.requires_grad:
            output.register_hook(lambda _gradient: self._count(kind))

    def _count(self, kind: str) -> None:
        """Count one pass over the batch's examples; kind: forward, backward or delta_backward."""
        if not self.dummy:
            self.step.passed[kind] += len(self.batch["input_ids"])

    def _replay_random_state(self) -> None:
        """Set torch's random generators back to their state before the first pass over this view."""
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
    """Within the block, passes run in float32 despite mixed precision, in which only operations are cast, not weights.

    accelerate puts an autocast wrapper on the instance as its ``forward``; without it the class's own is called.
    """
    wrapped = vars(model).pop("forward", None)
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        if wrapped is not None:
            vars(model)["forward"] = wrapped
