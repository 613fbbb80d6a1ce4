"""Where a perturbation enters a model: at the output of the word embedding, before positions and LayerNorm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from adapt.config import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEY_NAME = "perturbation.embeddings"
VERSION = 2
ROWS_AT_A_TIME = 8192
_word_embeddings: WeakKeyDictionary[nn.Module, nn.Embedding] = WeakKeyDictionary()  # by model, as find_embedding found


def find_embedding(model: nn.Module, input_ids: Tensor, forward: Callable[[], Any]) -> nn.Embedding:
    """The module that turns ``input_ids`` into word embeddings when ``forward()`` runs ``model``.

    ``model.encoder.get_input_embeddings()`` gives the right weight but not always the right module: T5 and BART never
    call the module that it returns. So the first call for a model runs ``forward`` once, without dropout or gradient,
    to see which module with that weight is called with ``input_ids``; the answer is cached as long as the model lives.

    Raises ConfigError if no such module is called.
    """
    if model not in _word_embeddings:
        weight = cast("PreTrainedModel", model.encoder).get_input_embeddings().weight
        called: list[nn.Embedding] = []

        def note(module: nn.Module, args: tuple[Any, ...], _output: Any) -> None:
            if args and torch.equal(args[0], input_ids):
                called.append(cast(nn.Embedding, module))

        modules = [module for module in model.modules() if isinstance(module, nn.Embedding) and module.weight is weight]
        handles = [module.register_forward_hook(note) for module in modules]
        try:
            with torch.no_grad(), evaluating(model):
                forward()
        finally:
            for handle in handles:
                handle.remove()
        if not called:
            raise ConfigError(
                f"model {type(model.encoder).__name__}: none of the {len(modules)} nn.Embedding modules with the input "
                "embedding's weight is called with input_ids, so there is nowhere to perturb; use adversary=none"
            )
        _word_embeddings[model] = called[0]
    return _word_embeddings[model]


@contextmanager
def perturbed(embedding: nn.Embedding, delta: Tensor, mask: Tensor) -> Iterator[None]:
    """Within the block, one forward pass sees ``embedding(input_ids) + delta * mask``.

    delta: [B, L, d] float32, a leaf if its gradient is needed; mask: [B, L, 1], 1 at tokens that may move. The sum
    is taken in delta's precision and then cast to the embedding's. Frozen embeddings can be perturbed too, because
    delta changes an activation, not a weight. Only the first call of the module in the pass is perturbed: a decoder
    that shares the module, and GPT-2's token types, call it after the word embedding. The hook is always removed.
    """
    calls = 0

    def add(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return (output + delta * mask).to(output.dtype) if calls == 1 else output

    handle = embedding.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
    assert calls, "the perturbed embedding was not called: this pass was not perturbed"


@contextmanager
def collect_hidden(model: nn.Module, into: list[Tensor]) -> Iterator[None]:
    """Within the block, each forward pass appends the encoder's last hidden states [B, L, H] to the list."""

    def append(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        into.append(output[0])

    encoder = cast(nn.Module, model.encoder)
    handle = encoder.register_forward_hook(append, prepend=True)  # before the hook that cuts them to predicted tokens
    try:
        yield
    finally:
        handle.remove()


def token_mask(batch: dict[str, Tensor], *, special_tokens: bool) -> Tensor:
    """1.0 where a token may be perturbed, [B, L, 1] float32: never at padding, at special tokens only if asked for."""
    mask = batch["attention_mask"].bool()
    if not special_tokens:
        mask = mask & ~batch["special_tokens_mask"].bool()
    return mask.float().unsqueeze(-1)


@torch.no_grad()
def median_norm(embedding: nn.Embedding) -> float:
    """The median over the vocabulary of ||embedding(token)||, the unit of a relative epsilon.

    Over the vocabulary, not over a batch, so that a radius does not depend on the batch. It uses the module's outputs,
    not its weights, so that models that scale their embeddings (Gemma, BART) are measured with the factor.
    """
    ids = torch.arange(embedding.num_embeddings, device=embedding.weight.device)
    return torch.cat([embedding(part).float().norm(dim=-1) for part in ids.split(ROWS_AT_A_TIME)]).median().item()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) within the block; afterwards each module is back in its former mode."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
