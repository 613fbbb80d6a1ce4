"""Language models that compute vocabulary scores only where a token is predicted, and in chunks if there are many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapt.adapters import folder as adapters
from adapt.models.heads import make_relocatable
from adapt.models.packing import packed_inputs
from adapt.models.segments import readable

KEY_NAME = "models.language"
VERSION = 1
WHOLE_SCORES = 2**26  # scores that may be in memory at once: 256 MiB in float32, and as much again for their gradient
CHUNK_SCORES = 2**24  # scores per chunk, where there are more


class LanguageModel(nn.Module):
    """A transformers model with a vocabulary head that is computed only at the predicted positions.

    With 15% of the tokens predicted, the dense projection that transformers computes spends 85% of its work on
    logits that no loss reads. A hook on the base model selects the hidden states at ``positions``, so the
    architecture's own head, whatever it consists of, runs on those only.
    """

    causal = False

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    @property
    def encoder(self) -> PreTrainedModel:
        """The transformers model under the head, whose embedding output is what an adversary perturbs.

        A decoder is not taken by ``base_model``: OPT's head calls the module inside it.
        """
        return self.model.get_decoder() if self.causal else self.model.base_model  # type: ignore[return-value]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        positions: Tensor,
        targets: Tensor | None = None,
        document_ids: Tensor | None = None,
        **more: Tensor,
    ) -> Tensor:
        """Logits [P, V] in float32 at ``positions`` [P], flat indices row * L + column.

        targets [P]: if given, return the cross-entropies [P] to them instead, in nats. If P * V is large, scores are
        computed chunk by chunk, and again in the backward pass, so that [P, V] is never in memory as a whole.
        document_ids [B, L]: which text of a packed sequence each token belongs to; no text attends to another.
        """
        inputs = self.inputs(input_ids, attention_mask, document_ids, **more)
        if targets is None or len(positions) * self.model.config.vocab_size <= WHOLE_SCORES:
            logits = self._logits(inputs, positions)
            return logits if targets is None else cross_entropy(logits, targets, reduction="none")
        output = self.encoder(**inputs)
        hidden = output[0].flatten(0, 1)[positions]
        rows = max(1, CHUNK_SCORES // self.model.config.vocab_size)
        losses = [
            checkpoint(self._losses, type(output), *chunk, use_reentrant=False)
            for chunk in zip(hidden.split(rows), targets.split(rows), strict=True)
        ]
        return torch.cat(losses)

    def inputs(
        self, input_ids: Tensor, attention_mask: Tensor, document_ids: Tensor | None, **more: Any
    ) -> dict[str, Any]:
        """What the base model is called with."""
        more = readable(self.encoder, more)
        if document_ids is not None:
            more |= packed_inputs(self.encoder, document_ids, causal=self.causal)
        if self.causal:
            more["use_cache"] = False  # nothing is generated, so no keys and values need to be stored
        return {"input_ids": input_ids, "attention_mask": attention_mask, **more}

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters outside the encoder; an output matrix tied to the embeddings belongs to the encoder."""
        inside = {id(parameter) for parameter in self.encoder.parameters()}
        return [parameter for parameter in self.model.parameters() if id(parameter) not in inside]

    def _logits(self, inputs: dict[str, Any], positions: Tensor) -> Tensor:
        cut = False

        def keep_predicted(_module: nn.Module, _args: Any, output: Any) -> Any:
            nonlocal cut
            cut = True
            hidden = output[0]
            output["last_hidden_state"] = hidden.reshape(-1, hidden.shape[-1])[positions].unsqueeze(0)
            return output

        handle = self.encoder.register_forward_hook(keep_predicted)
        try:
            logits = self.model(**inputs).logits[0].float()
        finally:
            handle.remove()
        assert cut, f"{type(self.model).__name__} does not call {type(self.encoder).__name__}: the hook never ran"
        return logits

    def _losses(self, kind: type, hidden: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropies [p] of one chunk: hidden states [p, H], targets [p]; kind: the base model's output type."""
        with answering(self.encoder, kind(last_hidden_state=hidden.unsqueeze(0))):
            logits = self.model(input_ids=targets.unsqueeze(0)).logits[0]  # the ids are not read
        return cross_entropy(logits.float(), targets, reduction="none")


@contextmanager
def answering(encoder: nn.Module, output: Any) -> Iterator[None]:
    """Within the block the encoder computes nothing and returns ``output``, so that its model runs only the head."""
    asked = False

    def answer(*_args: Any, **_inputs: Any) -> Any:
        nonlocal asked
        asked = True
        return output

    own = vars(encoder).pop("forward", None)
    encoder.forward = answer
    try:
        yield
    finally:
        del encoder.forward
        if own is not None:
            encoder.forward = own
    assert asked, f"the head was not computed from {type(encoder).__name__}'s states"


class MaskedLM(LanguageModel):
    """An encoder that predicts masked tokens from the text on both sides."""

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write a plain transformers folder with encoder, masked-LM head and tokenizer."""
        save_language_model(self, folder, tokenizer)


class CausalLM(LanguageModel):
    """A decoder that predicts the next token: position p of ``positions`` predicts the token at p + 1."""

    causal = True

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write a plain transformers folder with decoder, output matrix and tokenizer."""
        save_language_model(self, folder, tokenizer)


def save_language_model(model: LanguageModel, folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a folder that transformers opens with the same class; equal weights give equal bytes."""
    adapters.save(model.model, folder)
    tokenizer.save_pretrained(folder)
    make_relocatable(folder)
