"""The set of allowed perturbations: its norm and radius, steepest directions, projection, and random samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapt.config import ConfigError

KEY_NAME = "perturbation.ball"
VERSION = 2
NORMS = ("l2", "linf")
SCOPES = ("token", "sequence", "document")


@dataclass
class Ball:
    """All delta [B, L, d] with norm(delta) <= epsilon for each token, sequence, or document of a packed sequence.

    norm: l2, or linf (the largest absolute element; the scope then makes no difference).
    scope: token, sequence or document: what the norm is taken over.
    relative: epsilon is in units of the median L2 norm of a word embedding (``embeddings.median_norm``), for every
    norm and scope: .5 moves a whole sequence (or each token) by half the length of a typical embedding.
    special_tokens: whether special tokens such as [CLS] and [SEP] are perturbed too; padding never is.

    Gradients and perturbations are float32 and zero on padding, which therefore adds nothing to a norm. Raises
    ConfigError for an unknown norm or scope, or an invalid radius.
    """

    epsilon: float
    norm: str
    scope: str
    relative: bool
    special_tokens: bool
    documents: Tensor | None = field(default=None, init=False, compare=False, repr=False)
    """[B, L]: the document of its sequence that each token belongs to; set by :meth:`of_documents`."""
    not_finite: list[Tensor] = field(default_factory=list, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ConfigError(f"ball.epsilon is {self.epsilon}: must be a finite number, 0 or more")
        if self.norm not in NORMS:
            raise ConfigError(f"ball.norm is {self.norm!r}: must be one of {', '.join(NORMS)}")
        if self.scope not in SCOPES:
            raise ConfigError(f"ball.scope is {self.scope!r}: must be one of {', '.join(SCOPES)}")

    def absolute(self, embedding_norm: float) -> Ball:
        """The same ball with an absolute radius, given the median norm of an embedding."""
        return replace(self, epsilon=self.epsilon * embedding_norm, relative=False) if self.relative else replace(self)

    def of_documents(self, documents: Tensor | None) -> Ball:
        """The ball for a packed batch; ``documents`` [B, L] number the documents of a row. ``skipped`` is shared.

        Without packing (None), document scope is sequence scope. Other scopes ignore the documents.
        """
        bound = replace(self)
        bound.documents = documents if self.scope == "document" else None
        bound.not_finite = self.not_finite
        return bound

    @property
    def skipped(self) -> int:
        """How many gradients of single examples were not finite, in all calls of :meth:`unit` and :meth:`finite`."""
        return int(sum(count.item() for count in self.not_finite))

    def size(self, delta: Tensor) -> Tensor:
        """The norm that epsilon bounds: [B, 1, 1] for sequences, [B, L, 1] for tokens and for packed documents."""
        if self.norm == "linf":
            return self._over_tokens(delta.float().abs().amax(-1, keepdim=True), "amax")
        _, largest, norm = self._l2_parts(delta)
        return largest * norm

    def unit(self, gradient: Tensor) -> Tensor:
        """The direction of norm 1 in which a linear function with this gradient [B, L, d] rises fastest.

        g / ||g|| for l2, sign(g) for linf. Zero for a zero gradient, and for an example whose gradient is not finite,
        which is counted in ``skipped``.
        """
        gradient = self.finite(gradient)
        return gradient.sign() if self.norm == "linf" else self._l2_unit(gradient)

    def largest(self, values: Tensor) -> Tensor:
        """The largest of the values [B, L, 1] in each token's sequence or document; in token scope its own value."""
        return self._over_tokens(values, "amax")

    def finite(self, gradient: Tensor) -> Tensor:
        """The gradient [B, L, d] as float32; zero for an example where it is not finite, counted in ``skipped``."""
        finite = gradient.abs().flatten(1).amax(1).isfinite()  # amax is NaN or infinite if any element is
        self.not_finite.append((~finite).sum())
        return torch.where(finite[:, None, None], gradient.float(), 0.0)

    def project(self, delta: Tensor) -> Tensor:
        """Pi(delta), the point of the ball that is nearest to delta."""
        if self.norm == "linf":
            return delta.clamp(-self.radius, self.radius)
        rescaled, largest, norm = self._l2_parts(delta)
        return torch.where(largest * norm > self.radius, self.radius * (rescaled / norm.clamp(min=1.0)), delta)

    def ascend(self, delta: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """One step of projected ascent, Pi(delta + step_size * epsilon * unit(gradient)), detached from the graph."""
        return self.project(delta.detach() + step_size * self.radius * self.unit(gradient))

    def uniform(self, random: np.random.Generator, tokens: int, width: int) -> NDArray[np.float32]:
        """A random point of the ball for one example, [tokens, width]: every point is equally likely."""
        if self.norm == "linf":
            return random.uniform(-self.radius, self.radius, (tokens, width)).astype(np.float32)
        rows, dimensions = (tokens, width) if self.scope == "token" else (1, max(1, tokens * width))
        depth = random.random((rows, 1)) ** (1 / dimensions)  # a ball of radius depth has the share depth^dimensions
        return self.boundary(random, tokens, width) * depth.astype(np.float32)

    def boundary(self, random: np.random.Generator, tokens: int, width: int) -> NDArray[np.float32]:
        """A random direction of norm epsilon, [tokens, width], all equally likely (linf: all sign patterns)."""
        noise = random.standard_normal((tokens, width))
        if self.norm == "linf":
            return (self.radius * np.sign(noise)).astype(np.float32)
        squares = np.square(noise).sum(axis=1 if self.scope == "token" else None, keepdims=True)
        return (self.radius * noise / np.sqrt(squares)).astype(np.float32)

    def cube(self, random: np.random.Generator, tokens: int, width: int) -> NDArray[np.float32]:
        """Uniform noise U(-1, 1) * epsilon / sqrt(N d), [tokens, width]: in the largest cube inside the ball.

        N: the number of tokens of the sequence or document, 1 in token scope. This is where FreeLB starts (Zhu et al.,
        2020, algorithm 1), and the noise of NEFTune (Jain et al., 2024). The linf ball is that cube itself.
        """
        noise = random.uniform(-self.radius, self.radius, (tokens, width))
        if self.norm == "l2":
            noise /= math.sqrt(width * (1 if self.scope == "token" else max(1, tokens)))
        return noise.astype(np.float32)

    @property
    def radius(self) -> float:
        """Epsilon as an absolute length."""
        assert not self.relative, "a relative ball has no absolute radius yet: call ball.absolute(embedding_norm)"
        return self.epsilon

    def _over_tokens(self, values: Tensor, reduction: str) -> Tensor:
        """The maximum or sum of values [B, L, 1] over each token, sequence or document."""
        if self.scope == "token":
            return values
        if self.documents is None:
            return values.amax(1, keepdim=True) if reduction == "amax" else values.sum(1, keepdim=True)
        index = self.documents.unsqueeze(-1)
        totals = torch.zeros(len(values), int(index.max()) + 1, 1, dtype=values.dtype, device=values.device)
        return totals.scatter_reduce(1, index, values, reduction).gather(1, index)

    def _l2_unit(self, delta: Tensor) -> Tensor:
        rescaled, _, norm = self._l2_parts(delta)
        return rescaled / norm.clamp(min=1.0)

    def _l2_parts(self, delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Delta divided by its largest absolute element, that element, and the norm of the quotient (>= 1; 0 for zero).

        Dividing first keeps squaring from overflow and underflow; zero stays zero.
        """
        delta = delta.float()
        largest = self._over_tokens(delta.abs().amax(-1, keepdim=True), "amax")
        rescaled = delta / torch.where(largest > 0, largest, 1.0)
        return rescaled, largest, self._over_tokens(rescaled.square().sum(-1, keepdim=True), "sum").sqrt()
