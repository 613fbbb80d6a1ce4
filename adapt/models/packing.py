"""Several texts in one sequence that do not see each other: attention in blocks, and positions that restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

KEY_NAME = "models.packing"
VERSION = 1
PACKABLE = (
    *("albert", "bert", "distilbert", "electra", "gemma", "gpt2", "llama", "mistral", "modernbert", "mpnet", "opt"),
    *("qwen2", "roberta", "xlm-roberta"),
)  # architectures that are tested; any other that passes ``keeps_apart`` may be packed as well


def packed_inputs(encoder: PreTrainedModel, document_ids: Tensor, *, causal: bool) -> dict[str, Any]:
    """attention_mask and position_ids for ``document_ids`` [B, L]: 0 at padding, 1, 2, ... for a sequence's texts.

    The tokens of a text lie side by side. Padding attends to padding, so that no row of a softmax is empty. The mask
    [B, 1, L, L] is added to the attention scores: 0 within a text, the dtype's lowest number elsewhere. A model that
    has layers with and without a sliding window gets one mask for each kind of layer.
    """
    same = document_ids.unsqueeze(2) == document_ids.unsqueeze(1)
    steps = torch.arange(document_ids.shape[1], device=document_ids.device)
    back = steps.unsqueeze(1) - steps.unsqueeze(0)  # how far the key's token lies before the query's
    full = same & (back >= 0) if causal else same
    window = window_of(encoder.config)
    near = full if window is None else full & ((back < window) if causal else (back.abs() <= window))

    def added(allowed: Tensor) -> Tensor:
        lowest = torch.finfo(encoder.dtype).min
        return torch.zeros(allowed.shape, dtype=encoder.dtype, device=allowed.device).masked_fill(~allowed, lowest)[
            :, None
        ]

    kinds = set(getattr(encoder.config, "layer_types", None) or [])
    if "sliding_attention" in kinds:
        mask: Any = {"full_attention": added(full), "sliding_attention": added(near)}
    else:
        mask = added(near)
    return {"attention_mask": mask, "position_ids": positions_of(encoder, document_ids)}


def window_of(config: PretrainedConfig) -> int | None:
    """The width of the sliding window, in tokens; None if every layer sees the whole sequence."""
    if getattr(config, "use_sliding_window", True) is False:
        return None
    return getattr(config, "sliding_window", None)


def positions_of(encoder: PreTrainedModel, document_ids: Tensor) -> Tensor:
    """Each token's position id in its own text, [B, L].

    Positions begin at 0; in RoBERTa-like models they begin after the padding index, which is padding's own position.
    """
    steps = torch.arange(document_ids.shape[1], device=document_ids.device).expand_as(document_ids)
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    places = steps - torch.where(begins, steps, 0).cummax(1).values
    padding = padding_place(encoder)
    return places if padding is None else torch.where(document_ids > 0, places + padding + 1, padding)


def padding_place(encoder: PreTrainedModel) -> int | None:
    """The row of the position embeddings that belongs to padding; None if there is no such row."""
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2] == "position_embeddings" and isinstance(module, nn.Embedding):
            return module.padding_idx
    return None


@torch.no_grad()
def keeps_apart(model: nn.Module, hidden_states: Callable[..., Tensor]) -> bool:
    """Whether two texts packed into one sequence get the same states as unpacked, to 1e-3 of their largest value.

    hidden_states(input_ids, attention_mask, document_ids | None) -> [B, L, H] of ``model`` in evaluation mode.
    """
    size = model.get_input_embeddings().num_embeddings  # type: ignore[operator]  # a transformers model
    ids = torch.arange(7).mul(5).remainder(max(size - 8, 1)).add(min(7, size - 1)).unsqueeze(0)
    documents = torch.tensor([[1, 1, 1, 1, 2, 2, 2]])
    try:
        packed = hidden_states(ids, torch.ones_like(ids), documents)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):  # each architecture fails in its own way
        return False
    for part in (slice(0, 4), slice(4, 7)):
        unpacked = hidden_states(ids[:, part], torch.ones_like(ids[:, part]), None)
        if not (packed[:, part] - unpacked).abs().max() <= 1e-3 * unpacked.abs().max():
            return False
    return True
