"""How long a text an encoder can read."""

from __future__ import annotations

from torch import nn


def most_tokens(encoder: nn.Module) -> int | None:
    """How many tokens have a position embedding; None where positions are relative.

    RoBERTa and its kin number the positions from the padding index + 1 on, so theirs hold fewer than their config says.
    """
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2] in ("position_embeddings", "wpe") and isinstance(module, nn.Embedding):
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None
