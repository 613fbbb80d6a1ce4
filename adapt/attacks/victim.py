"""What is attacked: a classifier on a batch of examples, as logits at a perturbation; and the record of one attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adapt.attacks.apgd import difference_of_logits_ratios, margins
from adapt.perturbation.ball import Ball
from adapt.perturbation.embeddings import evaluating, find_embedding, median_norm, perturbed, token_mask
from adapt.training.objectives import Batch, Classification

KEY_NAME = "attacks.victim"
VERSION = 1


@dataclass
class Passes:
    """What attacks have cost so far, in passes of one example."""

    forward: int = 0
    backward: int = 0


class Victim:
    """A classifier on a batch: its logits [B, C] in float32 at delta [B, L, d], without dropout or autocast.

    length: the median norm of this model's word embeddings. passes: shared with every victim picked from this one.
    """

    def __init__(self, model: nn.Module, batch: Batch, *, special_tokens: bool) -> None:
        self.model, self.batch = model, batch
        self.embedding = find_embedding(model, batch["input_ids"], partial(Classification().logits, model, batch))
        self.length = median_norm(self.embedding)
        self.mask = token_mask(batch, special_tokens=special_tokens)
        self.passes = Passes()

    def pick(self, rows: Tensor) -> Victim:
        """Some of the examples, as a smaller batch."""
        picked = object.__new__(Victim)
        vars(picked).update(vars(self))
        picked.batch = {name: value[rows] for name, value in self.batch.items()}
        picked.mask = self.mask[rows]
        return picked

    @property
    def labels(self) -> Tensor:
        """The right answers [B]."""
        return self.batch["labels"]

    def zero(self) -> Tensor:
        """No perturbation, [B, L, d] float32."""
        shape = (*self.batch["input_ids"].shape, self.embedding.embedding_dim)
        return torch.zeros(shape, device=self.batch["input_ids"].device)

    def logits(self, delta: Tensor) -> Tensor:
        """Class scores [B, C] at delta; a graph is built only if delta requires a gradient."""
        self.passes.forward += len(delta)
        with (
            evaluating(self.model),
            torch.set_grad_enabled(delta.requires_grad),
            self.float32(),
            perturbed(self.embedding, delta, self.mask),
        ):
            logits = Classification().logits(self.model, self.batch).float()
        if logits.requires_grad:
            logits.register_hook(self._count_backward)
        return logits

    def float32(self) -> torch.autocast:
        """A context without autocast; run a whole attack in it, because backward passes are subject to autocast too."""
        return torch.autocast(self.mask.device.type, enabled=False)

    def noise(self, sample: Callable[[np.random.Generator, int, int], NDArray[np.float32]], *seeds: int) -> Tensor:
        """``sample(random, tokens, width)`` at the movable tokens of each example, [B, L, d]; see generators."""
        noise, movable = self.zero().cpu(), self.movable()
        for row, random in enumerate(self.generators(*seeds)):
            values = sample(random, int(movable[row].sum()), noise.shape[-1])
            noise[row, movable[row]] = torch.from_numpy(values)
        return noise.to(self.mask.device)

    def generators(self, *seeds: int) -> list[np.random.Generator]:
        """A generator for each example, seeded by the seeds and its id, so that noise does not depend on the batch."""
        return [np.random.default_rng([*seeds, example]) for example in self.batch["example_ids"].tolist()]

    def movable(self) -> Tensor:
        """Which tokens may be perturbed, [B, L] bool on the CPU."""
        return self.mask.squeeze(-1).bool().cpu()

    def _count_backward(self, gradient: Tensor) -> None:
        self.passes.backward += len(gradient)


class Trial:
    """One attack on a victim within a ball: computes the losses [B] that it asks for, and notes every wrong answer.

    gradient: of the cross-entropy at delta = 0, [B, L, d], the same for every radius. first: the first wrong answer
    that the attack met. nearest: the wrong answer with the smallest perturbation. norm: the size of that perturbation
    (under scope token, the largest of its tokens' sizes), infinite as long as no answer was wrong. Logits that are not
    finite are not an answer. Every point that the attack visits counts, not only its last.
    """

    def __init__(self, victim: Victim, ball: Ball, gradient: Tensor) -> None:
        self.victim, self.ball, self.gradient = victim, ball, gradient
        self.first, self.nearest = victim.labels.clone(), victim.labels.clone()
        self.norm = torch.full((len(victim.labels),), torch.inf, device=victim.labels.device)

    @property
    def fooled(self) -> Tensor:
        """Which examples have got a wrong answer, [B] bool."""
        return self.norm.isfinite()

    def cross_entropies(self, delta: Tensor) -> Tensor:
        """Cross-entropy in nats: rises towards a wrong answer."""
        return cross_entropy(self._logits(delta), self.victim.labels, reduction="none")

    def difference_of_logits_ratios(self, delta: Tensor) -> Tensor:
        """DLR: rises towards a wrong answer, whatever the scale of the logits."""
        return difference_of_logits_ratios(self._logits(delta), self.victim.labels)

    def margins(self, delta: Tensor) -> Tensor:
        """The label's logit minus the largest other one: below 0 the answer is wrong."""
        return margins(self._logits(delta), self.victim.labels)

    def _logits(self, delta: Tensor) -> Tensor:
        logits = self.victim.logits(delta)
        answers = logits.detach().argmax(-1)
        wrong = (answers != self.victim.labels) & logits.detach().isfinite().all(-1)
        self.first = torch.where(wrong & ~self.fooled, answers, self.first)
        size = self.ball.size(delta.detach()).flatten(1).amax(1)
        nearer = wrong & (size < self.norm)
        self.nearest = torch.where(nearer, answers, self.nearest)
        self.norm = torch.where(nearer, size, self.norm)
        return logits
