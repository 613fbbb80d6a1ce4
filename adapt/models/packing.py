"""Several texts in one sequence, none of which sees another: attention in blocks, and positions that begin anew."""

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
)  # those that a test holds to it; any other that passes ``keeps_apart`` may be packed as well


def packed_inputs(encoder: PreTrainedModel, document_ids: Tensor, *, causal: bool) -> dict[str, Any]:
    """attention_mask and position_ids for ``document_ids`` [B, L]: 0 at padding, 1, 2, ... for a sequence's texts.

    Equal ids lie side by side. Padding attends to padding, so that no row of a softmax is empty. The mask is what is
    added to the scores, [B, 1, L, L]: 0 within a text, the type's lowest number elsewhere. A model whose layers differ
    in how far they see gets one for each kind of layer.
    """
    same = document_ids.unsqueeze(2) == document_ids.unsqueeze(1)
    steps = torch.arange(document_ids.shape[1], device=document_ids.device)
    back = steps.unsqueeze(1) - steps.unsqueeze(0)  # how far the attended token lies before the attending one
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
    """How far a layer with a sliding window sees; None where every layer sees all."""
    if getattr(config, "use_sliding_window", True) is False:
        return None
    return getattr(config, "sliding_window", None)


def positions_of(encoder: PreTrainedModel, document_ids: Tensor) -> Tensor:
    """Each token's place in its own text, [B, L], as the encoder counts.

    Counting begins at 0, with RoBERTa and its kin after the padding index, which padding itself has.
    """
    steps = torch.arange(document_ids.shape[1], device=document_ids.device).expand_as(document_ids)
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    places = steps - torch.where(begins, steps, 0).cummax(1).values
    padding = padding_place(encoder)
    return places if padding is None else torch.where(document_ids > 0, places + padding + 1, padding)


def padding_place(encoder: PreTrainedModel) -> int | None:
    """The row of the position embeddings that is padding's; None where padding has none of its own."""
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2] == "position_embeddings" and isinstance(module, nn.Embedding):
            return module.padding_idx
    return None


@torch.no_grad()
def keeps_apart(model: nn.Module, hidden_states: Callable[..., Tensor]) -> bool:
    """Whether two texts packed into a sequence give the states that each gives alone, to 1e-3 of their size.

    hidden_states(input_ids, attention_mask, document_ids | None) -> [B, L, H] of ``model`` in evaluation mode.
    """
    size = model.get_input_embeddings().num_embeddings  # type: ignore[operator]  # a transformers model
    ids = torch.arange(7).mul(5).remainder(max(size - 8, 1)).add(min(7, size - 1)).unsqueeze(0)
    documents = torch.tensor([[1, 1, 1, 1, 2, 2, 2]])
    try:
        packed = hidden_states(ids, torch.ones_like(ids), documents)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):  # each architecture refuses in its way
        return False
    for part in (slice(0, 4), slice(4, 7)):
        alone = hidden_states(ids[:, part], torch.ones_like(ids[:, part]), None)
        if not (packed[:, part] - alone).abs().max() <= 1e-3 * alone.abs().max():
            return False
    return True
