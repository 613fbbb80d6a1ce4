"""One base model in memory, and networks that share its weights: separate modules around the same tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from adapt.adapters import quantization
from adapt.adapters.folder import Adaptation
from adapt.data.tokens import batching
from adapt.models import loading, weights
from adapt.runs.finetuned import longest_input
from adapt.serving.content import BaseContent, content_of
from adapt.store.sources import checked_folder
from adapt.training.objectives import model_inputs


class Base:
    """The encoder and tokenizer of a folder, without any adapters and heads in it; they are never modified.

    Raises ConfigError for a folder that does not hold a model, or holds only pickled weights.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = checked_folder(folder, f"base={folder}"), device
        self.tokenizer = loading.load_tokenizer(folder)
        encoder = loading.load_encoder(folder, adapted=False).to(device).eval()  # type: ignore[arg-type]
        self.encoder = frozen(encoder)
        self.content: BaseContent = content_of(folder, self.encoder)
        self._quantized: dict[tuple[str, tuple[str, ...]], PreTrainedModel] = {}
        self._shell: PreTrainedModel | None = None
        self._pooler: nn.Module | None = None
        self._tokenizing = Lock()

    def encode(
        self, texts: Sequence[tuple[str, str | None]], lengths: Sequence[int | None] | None = None
    ) -> batching.Encoded:
        """The token ids of texts or pairs of texts, each encoded as if it were the only one.

        lengths: at how many tokens each is cut, as in its adapter's training; None: as many as the base reads.
        """
        encoded: dict[int, tuple[list[int], list[int] | None]] = {}
        own = longest_input(self.encoder)
        cuts = [own if length is None else length for length in lengths or [None] * len(texts)]
        for paired, cut in sorted({(pair is not None, cut) for (_, pair), cut in zip(texts, cuts, strict=True)}):
            chosen = [
                number
                for number, ((_, pair), its) in enumerate(zip(texts, cuts, strict=True))
                if (pair is not None, its) == (paired, cut)
            ]
            first = [texts[number][0] for number in chosen]
            second = [str(texts[number][1]) for number in chosen] if paired else None
            with self._tokenizing:  # a fast tokenizer fails if a second thread uses it
                part = batching.encode(self.tokenizer, first, cut, second)
            segments: Sequence[list[int] | None] = part.segments or [None for _ in part.ids]
            encoded |= dict(zip(chosen, zip(part.ids, segments, strict=True), strict=True))
        ordered = [encoded[number] for number in range(len(texts))]
        if all(segments is None for _, segments in ordered):
            return batching.Encoded([ids for ids, _ in ordered], None)
        return batching.Encoded(  # of texts alone, which have segment ids only beside pairs, all are in the first
            [ids for ids, _ in ordered], [[0] * len(ids) if segments is None else segments for ids, segments in ordered]
        )

    def readable(self, encoded: batching.Encoded) -> list[bool]:
        """Whether each text has a token that is neither unknown nor one that the tokenizer puts around every text."""
        others = set(self.tokenizer.all_special_ids)
        return [not others.issuperset(ids) for ids in encoded.ids]

    def batch(self, encoded: batching.Encoded, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The model inputs of some of the texts, [B, L] each, on the base's device; numbers: their indices."""
        batch = model_inputs(batching.collate(self.tokenizer, encoded, numbers))
        return {name: value.to(self.device) for name, value in batch.items()}

    def skin(self, precision: str | None, unquantized: Sequence[str]) -> PreTrainedModel:
        """New modules around the base's weights: in float32, or in 4 or 8 bits, which are computed once and shared.

        unquantized: names of modules that keep their precision. Raises ConfigError where bitsandbytes is missing.
        """
        if precision is None:
            return sharing(self.encoder)
        key = (precision, tuple(unquantized))
        if key not in self._quantized:
            quantization.check("adapter", precision)
            network = sharing(self.encoder)
            for layer in network.modules():
                if isinstance(layer, nn.Linear) and layer.bias is not None:
                    layer.bias = nn.Parameter(layer.bias.clone())  # bitsandbytes rounds it in place when it computes
            quantization.quantize(network, precision, list(unquantized))
            self._quantized[key] = frozen(network)
        return sharing(self._quantized[key])

    def headed(self, encoder: nn.Module | None) -> PreTrainedModel:
        """The architecture's own classifier around an encoder from :meth:`skin`.

        Without an encoder, it reads last hidden states as ``inputs_embeds``. Its head and pooler are new modules, whose
        weights the caller replaces.
        """
        if self._shell is None:
            config = loading.config_with_dropout(self.folder, 0.0)
            shell, _ = weights.opened(AutoModelForSequenceClassification, self.folder, config=config)
            self._pooler = getattr(shell.base_model, "pooler", None)
            setattr(shell, shell.base_model_prefix, nn.Identity())
            self._shell = frozen(nn.Module.to(shell, self.device).eval())
        network, pooler = copy.deepcopy(self._shell), copy.deepcopy(self._pooler)
        inner = Given() if encoder is None else encoder
        inner.pooler = pooler  # type: ignore[assignment]  # None unsets a submodule
        setattr(network, network.base_model_prefix, inner.eval())
        if encoder is not None:
            network.adaptation = Adaptation(self.folder)  # type: ignore[assignment]
        return network


class Given(nn.Module):
    """A stand-in for an encoder: returns the states that it is given, so that a head can be run without one."""

    pooler: nn.Module | None

    def forward(self, *_args: Any, inputs_embeds: Tensor, **_more: Any) -> BaseModelOutputWithPooling:
        """inputs_embeds: last hidden states [B, L, H]."""
        pooled = None if self.pooler is None else self.pooler(inputs_embeds)
        return BaseModelOutputWithPooling(last_hidden_state=inputs_embeds, pooler_output=pooled)  # type: ignore[arg-type]


def frozen(network: Any) -> Any:
    """The network, with requires_grad off for all its weights."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def sharing(network: PreTrainedModel) -> PreTrainedModel:
    """A copy of the network's modules that shares its weights."""
    shared: list[Any] = [*network.parameters(), *network.buffers()]
    for module in network.modules():
        if quantization.is_quantized(module):
            shared += constants(module)
    copied = copy.deepcopy(network, {id(one): one for one in shared})
    copied.adaptation = Adaptation(cast(Adaptation, network.adaptation).base)  # type: ignore[assignment]
    return copied


def constants(layer: Any) -> list[Any]:
    """What a bitsandbytes layer stores beside its weight: a quantisation state, or int8 values and their scales."""
    if getattr(layer.weight, "CB", None) is not None:
        layer.init_8bit_state()  # otherwise the first pass of one copy would do this and leave nothing for the others
    state = getattr(layer, "state", None)
    tensors = [] if state is None else [value for value in vars(state).values() if isinstance(value, Tensor)]
    quantized = getattr(layer.weight, "quant_state", None)
    return tensors if quantized is None else [*tensors, quantized]
