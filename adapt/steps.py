"""One optimizer step as a training method sees it: micro-batch views, the ball, memory that outlives the step.

A method is a generator over a step. It yields losses, the training loop runs the backward pass of each, and a delta
that is a leaf of the yielded loss then has its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from adapt import processes
from adapt.adversary.ball import Ball
from adapt.adversary.perturbation import find_embedding, median_norm
from adapt.adversary.plain import plain
from adapt.config import AdversaryConfig, ConfigError
from adapt.objectives import Batch, Objective
from adapt.sharding import forget_whole, is_sharded, whole_weights
from adapt.views import View

KEY_NAME = "training.step"
VERSION = 2
DROPOUT = ("same", "fresh", "off")
ROUNDING = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}  # half the spacing of numbers near 1


@dataclass
class Adversary:
    """A training method and the settings that every method shares.

    dropout: the mask in all passes over a view. ``same``: every pass draws the one mask again; ``fresh``: each pass
    draws its own; ``off``: inner passes run in evaluation mode, and passes for a yielded loss draw their own.
    float32: passes leave mixed precision, for perturbations so small that 16 bits would round them away.
    """

    method: Callable[..., Generator[Tensor, None, None]]
    ball: Ball | None
    dropout: str
    float32: bool

    def __post_init__(self) -> None:
        if self.dropout not in DROPOUT:
            raise ConfigError(f"adversary.dropout is {self.dropout!r}: must be one of {', '.join(DROPOUT)}")

    @classmethod
    def of(cls, cfg: AdversaryConfig) -> Adversary:
        """What an option file of conf/adversary describes."""
        from hydra.utils import instantiate

        ball = None if cfg.ball is None else Ball(**asdict(cfg.ball))
        return cls(instantiate(cfg.method), ball, cfg.dropout, cfg.float32)


PLAIN = Adversary(plain, None, "fresh", False)


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
