"""The set of allowed perturbations: its norm and radius, steepest directions, projection and samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapt.config import ConfigError

VERSION = 1
NORMS = ("l2", "linf")
SCOPES = ("token", "sequence")


@dataclass
class Ball:
    """All delta [B, L, d] with norm(delta) <= epsilon for each example (sequence) or each of its tokens (token).

    norm: l2, or linf (the largest absolute element; there the scope makes no difference).
    relative: epsilon is in units of the median L2 norm of a word embedding (``perturbation.median_norm``), for every
    norm and scope alike: .5 moves a whole sequence (or each token) by half the length of a typical embedding.
    special_tokens: whether [CLS], [SEP] and their like are perturbed too; padding never is.

    Gradients and perturbations are float32 and zero on padding, which therefore adds nothing to a norm. Raises
    ConfigError for a norm, scope or radius that does not exist.
    """

    epsilon: float
    norm: str
    scope: str
    relative: bool
    special_tokens: bool
    skipped: Tensor | int = field(default=0, init=False, compare=False)
    """How many gradients of an example :meth:`unit` has met that were not finite."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ConfigError(f"ball.epsilon is {self.epsilon}: must be a finite number, 0 or more")
        if self.norm not in NORMS:
            raise ConfigError(f"ball.norm is {self.norm!r}: must be one of {', '.join(NORMS)}")
        if self.scope not in SCOPES:
            raise ConfigError(f"ball.scope is {self.scope!r}: must be one of {', '.join(SCOPES)}")

    def absolute(self, embedding_norm: float) -> Ball:
        """The same ball with its radius as a length, given the median norm of an embedding."""
        return replace(self, epsilon=self.epsilon * embedding_norm, relative=False) if self.relative else replace(self)

    def size(self, delta: Tensor) -> Tensor:
        """The norm that epsilon bounds: [B, 1, 1] for a sequence, [B, L, 1] for tokens."""
        largest = delta.float().abs().amax(self._dims, keepdim=True)
        if self.norm == "linf":
            return largest
        return largest * _rescaled(delta, self._dims).norm(dim=self._dims, keepdim=True)

    def unit(self, gradient: Tensor) -> Tensor:
        """The direction of norm 1 in which a linear function with this gradient [B, L, d] rises fastest.

        g / ||g|| for l2, sign(g) for linf. A zero gradient gives zero. An example whose gradient is not finite
        gives zero and is counted in ``skipped``.
        """
        finite = gradient.isfinite().flatten(1).all(1)
        self.skipped = self.skipped + (~finite).sum()
        gradient = torch.where(finite[:, None, None], gradient.float(), 0.0)
        return gradient.sign() if self.norm == "linf" else _l2_unit(gradient, self._dims)

    def project(self, delta: Tensor) -> Tensor:
        """The nearest point of the ball, Pi(delta)."""
        if self.norm == "linf":
            return delta.clamp(-self.radius, self.radius)
        return torch.where(self.size(delta) > self.radius, self.radius * _l2_unit(delta, self._dims), delta)

    def ascend(self, delta: Tensor, gradient: Tensor, step_size: float) -> Tensor:
        """One step of projected ascent, Pi(delta + step_size * epsilon * unit(gradient)), cut off from the graph."""
        return self.project(delta.detach() + step_size * self.radius * self.unit(gradient))

    def uniform(self, random: np.random.Generator, tokens: int, width: int) -> NDArray[np.float32]:
        """A point of the ball of one example with so many tokens, [tokens, width], every point equally likely."""
        if self.norm == "linf":
            return random.uniform(-self.radius, self.radius, (tokens, width)).astype(np.float32)
        rows, dimensions = (tokens, width) if self.scope == "token" else (1, max(1, tokens * width))
        depth = random.random((rows, 1)) ** (1 / dimensions)  # the share of the ball within depth is depth^dimensions
        return self.boundary(random, tokens, width) * depth.astype(np.float32)

    def boundary(self, random: np.random.Generator, tokens: int, width: int) -> NDArray[np.float32]:
        """A random direction of norm epsilon, [tokens, width]: all directions equally likely (linf: all signs)."""
        noise = random.standard_normal((tokens, width))
        if self.norm == "linf":
            return (self.radius * np.sign(noise)).astype(np.float32)
        squares = np.square(noise).sum(axis=1 if self.scope == "token" else None, keepdims=True)
        return (self.radius * noise / np.sqrt(squares)).astype(np.float32)

    @property
    def radius(self) -> float:
        """Epsilon as a length."""
        assert not self.relative, "a relative ball has no length yet: ball.absolute(embedding_norm)"
        return self.epsilon

    @property
    def _dims(self) -> tuple[int, ...]:
        return (-1,) if self.scope == "token" else (-2, -1)


def _rescaled(delta: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Divided by its largest absolute element, so that squaring neither overflows nor underflows; zero stays zero."""
    largest = delta.float().abs().amax(dims, keepdim=True)
    return delta.float() / torch.where(largest > 0, largest, 1.0)


def _l2_unit(delta: Tensor, dims: tuple[int, ...]) -> Tensor:
    rescaled = _rescaled(delta, dims)
    return rescaled / rescaled.norm(dim=dims, keepdim=True).clamp(min=1.0)  # at least 1 unless delta is zero
