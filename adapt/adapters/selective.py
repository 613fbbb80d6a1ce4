"""Methods that train some of the model's own weights and add none: BitFit, and training only the head."""

from __future__ import annotations

from dataclasses import dataclass

from peft import PeftConfig
from torch import nn

KEY_NAME = "adapters.selective"
VERSION = 1


@dataclass
class BitFitConfig(PeftConfig):
    """Ben Zaken et al. (2022): the bias terms of the encoder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = "BITFIT"


@dataclass
class HeadConfig(PeftConfig):
    """Train nothing of the encoder, only the head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = "HEAD"


def biases(encoder: nn.Module) -> list[str]:
    """The names of the bias terms; empty for a model without them (Llama)."""
    return [name for name, _ in encoder.named_parameters() if name.rpartition(".")[2] == "bias"]
