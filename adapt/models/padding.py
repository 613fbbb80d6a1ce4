"""Whether what a network says of a text depends on that text only: not on padding, nor on what it has read before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from adapt.models.packing import PACKABLE

TOLERANCE = 1e-3  # of the largest value: other sizes of a batch round otherwise
SOUND = (*PACKABLE, "deberta", "deberta-v2", "xlnet", "gpt_neox", "camembert", "t5", "bart")  # probed in the tests
States = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def dependence(network: nn.Module, hidden_states: States) -> str | None:
    """What the states of a text depend on besides the text, in words; None if on nothing.

    hidden_states(input_ids [B, L], attention_mask [B, L]) -> [B, L, H] of ``network``. Runs four small passes in
    evaluation mode: a text by itself, padded beside a longer one, a long one, and by itself again.
    """
    config: Any = network.config
    size = network.get_input_embeddings().num_embeddings  # type: ignore[operator]  # a transformers model
    pad = getattr(config, "pad_token_id", None) or 0
    ids = torch.arange(40).mul(5).remainder(max(size - 8, 1)).add(min(7, size - 1))
    ids = torch.where(ids == pad, (pad + 1) % size, ids)
    short, long = ids[:6].unsqueeze(0), ids.unsqueeze(0)
    both = torch.cat([torch.nn.functional.pad(short, (0, 34), value=pad), long])
    mask = torch.ones_like(both)
    mask[0, 6:] = 0
    training = network.training
    network.eval()
    try:
        alone = hidden_states(short, torch.ones_like(short))
        beside = hidden_states(both, mask)[:1, :6]
        hidden_states(long, torch.ones_like(long))
        again = hidden_states(short, torch.ones_like(short))
    finally:
        network.train(training)
    limit = TOLERANCE * alone.abs().max()
    if not (beside - alone).abs().max() <= limit:
        return "padding, that is on the texts beside it in a batch"
    if not (again - alone).abs().max() <= limit:
        return "the texts that it has read before"
    return None


@torch.no_grad()
def pads_inside(network: nn.Module, hidden_states: States) -> bool:
    """Whether a network lengthens its input before the word embedding, where a perturbation of its shape would go."""
    seen: list[list[int]] = []
    embedding = network.get_input_embeddings()  # type: ignore[operator]
    handle = embedding.register_forward_hook(lambda _module, _given, output: seen.append(sorted(output.shape[:2])))
    ids = torch.arange(5).add(7).unsqueeze(0)
    try:
        hidden_states(ids, torch.ones_like(ids))
    finally:
        handle.remove()
    return any(shape != [1, 5] for shape in seen)  # XLNet has the tokens first
