"""A training method as the loop receives it: the generator, its ball, and the settings that all methods share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass

from torch import Tensor

from adapt.config import AdversaryConfig, ConfigError
from adapt.perturbation.ball import Ball

KEY_NAME = "training.method"
VERSION = 1
DROPOUT = ("same", "fresh", "off")


@dataclass
class Adversary:
    """A training method and the settings that all methods share.

    dropout: the masks of the passes over one view. ``same``: every pass uses the same mask; ``fresh``: each pass draws
    its own; ``off``: inner passes run in evaluation mode, and passes for a yielded loss draw their own.
    float32: passes run in float32 despite mixed precision, for perturbations so small that 16 bits would round them
    away.
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
        """The method that an option file of conf/adversary describes."""
        from hydra.utils import instantiate

        ball = None if cfg.ball is None else Ball(**asdict(cfg.ball))
        return cls(instantiate(cfg.method), ball, cfg.dropout, cfg.float32)
