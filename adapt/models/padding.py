"""Whether what a network says of a text depends on that text only: not on padding, nor on what it has read before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from adapt.models.packing import PACKABLE

TOLERANCE = 1e-3  # of the largest value: other sizes of a batch round otherwise
SOUND = (*PACKABLE, "deberta", "deberta-v2", "gpt_neox", "camembert")  # probed in the tests, so not in a run
States = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def dependence(network: nn.Module, hidden_states: States) -> str | None:
    """What the states of a text depend on besides the text, in words; None if on nothing.

    hidden_states(input_ids [B, L], attention_mask [B, L]) -> [B, L, H] of ``network``. Runs four small passes in
    evaluation mode: a text by itself, padded beside a longer one, a long one, and by itself again. It is padded with an
    ordinary token under mask 0, because the padding token's own embedding may be 0 until it is trained (MobileBERT's).
    """
    ids = _ids(network)
    short, long = ids[:6].unsqueeze(0), ids.unsqueeze(0)
    both = torch.cat([torch.nn.functional.pad(short, (0, 34), value=int(ids[6])), long])
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
def reads_context(network: nn.Module, hidden_states: States) -> bool:
    """Whether the state of a text's last token depends on its first token.

    In MRA it does not where its CUDA kernel is missing: transformers (5.23) then takes zeros for the attention.
    """
    text = _ids(network)[:6].unsqueeze(0)
    other = text.clone()
    other[0, 0] = _ids(network)[7]
    ones = torch.ones_like(text)
    one, changed = (hidden_states(ids, ones)[0, -1] for ids in (text, other))
    return bool((one - changed).abs().max() > 0)


def _ids(network: nn.Module) -> Tensor:
    """40 ids [40] of different tokens, as far as there are so many, none of which is the padding token."""
    config: Any = network.config
    pad = getattr(config, "pad_token_id", None) or 0
    ids = torch.arange(40).mul(5).remainder(max(config.vocab_size - 8, 1)).add(min(7, config.vocab_size - 1))
    return torch.where(ids == pad, (pad + 1) % config.vocab_size, ids)


@torch.no_grad()
def embedded_otherwise(network: nn.Module, hidden_states: States) -> str | None:
    """Why a perturbation of the input's shape [B, L, d] has no place at the word embedding, in words; None if it has.

    An embedding that is not called at all is found elsewhere (adapt/perturbation/embeddings.py).
    """
    seen: list[tuple[int, ...]] = []
    embedding = network.get_input_embeddings()  # type: ignore[operator]
    handle = embedding.register_forward_hook(lambda _module, _given, output: seen.append(tuple(output.shape[:2])))
    ids = _ids(network)[:5].unsqueeze(0)
    try:
        hidden_states(ids, torch.ones_like(ids))
    finally:
        handle.remove()
    if any(sorted(shape) != [1, 5] for shape in seen):
        return "pads its input to its attention window before the word embedding"
    return "embeds the tokens of all texts side by side" if (5, 1) in seen else None
