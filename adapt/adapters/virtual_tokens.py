"""Soft prompts and prefixes: learned virtual tokens that an encoder reads before the text.

The prompts themselves are peft's modules. The forward pass is ours, because peft's also hands the states of the virtual
tokens to the head: a [CLS] head would read the first of them, and masked positions and pooling masks would be off.
Here the encoder returns only the states of the text, so that every head, loss and adversary works unchanged.
"""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from peft.tuners import PrefixEncoder, PromptEmbedding, PromptEncoder
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from adapt.config import ConfigError

KEY_NAME = "adapters.virtual_tokens"
VERSION = 1
NAME = "virtual_tokens"


class VirtualTokens(nn.Module):
    """The virtual tokens of an encoder, oldest first; :meth:`around` replaces the encoder's ``forward``."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.of = (encoder,)  # in a tuple, so that torch does not register the encoder as a submodule of its own child
        self.prompts = nn.ModuleDict()
        self.prefixes = nn.ModuleDict()

    def around(self, input_ids: Tensor, attention_mask: Tensor | None = None, **more: Any) -> Any:
        """The encoder's output for the text, [B, L, ...], with the virtual tokens before it in all layers.

        With absolute positions the text keeps those that it was pretrained at, so that its maximum length stays. With
        relative positions, or positions counted from the attention mask (OPT), the text moves behind the prompt, as in
        peft. ``position_ids``, given where a batch is padded on the left, count only the text.
        """
        (encoder,) = self.of
        assert not more.get("use_cache"), "no cache: each pass must begin with the virtual tokens"
        assert attention_mask is None or attention_mask.ndim == 2, "a packed batch: suitability has refused it"
        batch, length = input_ids.shape
        start = first_position(encoder)
        places: Tensor | None = more.pop("position_ids", None)  # [1 or B, L]
        if places is None and start is not None:
            places = torch.arange(length, device=input_ids.device)[None] + start
        virtual = sum(len(whole_table(one).weight) for one in [*self.prompts.values(), *self.prefixes.values()])
        if places is not None and start is None:
            places = places + virtual
        prompts, prefixes = list(self.prompts.values()), list(self.prefixes.values())
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if prompts:
            words = cast(nn.Module, encoder.get_input_embeddings())(input_ids)
            soft = torch.cat([whole(prompt) for prompt in prompts])
            more["inputs_embeds"] = torch.cat([soft.to(words.dtype).expand(batch, -1, -1), words], dim=1)
            if more.get("token_type_ids") is not None:
                more["token_type_ids"] = nn.functional.pad(more["token_type_ids"], (len(soft), 0))
            if places is not None:
                own = torch.arange(len(soft), device=places.device) + virtual - len(soft)
                own = own if start is None else torch.full_like(own, start)
                places = torch.cat([own.expand(len(places), -1), places], dim=1)
            before = len(soft)
        else:
            more["input_ids"], before = input_ids, 0
        if prefixes:
            states = torch.cat([whole(prefix) for prefix in prefixes])
            more["past_key_values"] = DynamicCache(keys_and_values(encoder, states, batch))
            attention_mask = nn.functional.pad(attention_mask, (len(states), 0), value=1)
        attention_mask = nn.functional.pad(attention_mask, (before, 0), value=1)
        if places is not None:
            more["position_ids"] = places.expand(batch, -1)
        output = type(encoder).forward(encoder, attention_mask=attention_mask, **more)
        output["last_hidden_state"] = output[0][:, before:]
        if output.get("pooler_output") is not None:  # pool the text's first token, not a virtual one
            output["pooler_output"] = cast(nn.Module, encoder.pooler)(output["last_hidden_state"])
        return output


def whole(prompt: nn.Module) -> Tensor:
    """All virtual tokens of one prompt [V, d] or prefix [V, layers * 2 * d]."""
    table = whole_table(prompt)
    return prompt(torch.arange(table.num_embeddings, device=table.weight.device))


def whole_table(prompt: nn.Module) -> nn.Embedding:
    """The embedding table of a prompt or prefix, one row per virtual token."""
    return cast(nn.Embedding, prompt.embedding if hasattr(prompt, "embedding") else prompt)


def keys_and_values(encoder: PreTrainedModel, states: Tensor, batch: int) -> list[tuple[Tensor, Tensor]]:
    """A prefix [V, layers * 2 * heads * width] as each layer's keys and values [B, heads, V, width], as in peft."""
    layers, heads, width = shape_of(encoder)
    parts = states.to(encoder.dtype).view(len(states), layers * 2, heads, width).permute(1, 2, 0, 3)
    parts = parts.unsqueeze(1).expand(-1, batch, -1, -1, -1)
    return [(parts[2 * layer], parts[2 * layer + 1]) for layer in range(layers)]


def shape_of(encoder: PreTrainedModel) -> tuple[int, int, int]:
    """The number of layers, the number of key-value heads, and the width of one head."""
    config = encoder.config
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or heads, width


def first_position(encoder: PreTrainedModel) -> int | None:
    """The absolute position of a text's first token; None where positions are relative, rotary or OPT's own."""
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2] in ("position_embeddings", "wpe") and isinstance(module, nn.Embedding):
            takes = "position_ids" in inspect.signature(type(encoder).forward).parameters
            return (0 if module.padding_idx is None else module.padding_idx + 1) if takes else None
    return None


def put_before(encoder: PreTrainedModel, adapter: str, config: Any, learned: Tensor | None) -> None:
    """Put virtual tokens before every text that the encoder reads, after the virtual tokens that it already has.

    learned: their saved values, as ``whole`` gives them; None makes new ones with peft's module for ``config``.
    """
    if NAME not in dict(encoder.named_children()):
        tokens = VirtualTokens(encoder)
        encoder.add_module(NAME, tokens)
        encoder.forward = tokens.around  # set on the instance, so that hooks and copies of the model go on working
    tokens = cast(VirtualTokens, encoder.get_submodule(NAME))
    prefix = isinstance(config, PrefixTuningConfig)
    table = tokens.prefixes if prefix else tokens.prompts
    if learned is not None:
        table[adapter] = nn.Embedding.from_pretrained(learned, freeze=True)
        return
    describe(encoder, config)
    if isinstance(config, PrefixTuningConfig):
        table[adapter] = PrefixEncoder(config)
    elif isinstance(config, PromptEncoderConfig):
        table[adapter] = PromptEncoder(config)
    else:
        assert isinstance(config, PromptTuningConfig)
        table[adapter] = PromptEmbedding(config, encoder.get_input_embeddings())


def describe(encoder: PreTrainedModel, config: Any) -> None:
    """Fill in what peft's modules need to know about the model, such as the width of a virtual token."""
    layers, heads, width = shape_of(encoder)
    prefix = isinstance(config, PrefixTuningConfig)
    config.num_layers, config.num_attention_heads = layers, heads
    embedding = cast(nn.Embedding, encoder.get_input_embeddings())
    config.token_dim = heads * width if prefix else embedding.embedding_dim
    config.num_transformer_submodules = 1
    if getattr(config, "encoder_hidden_size", 0) is None:
        config.encoder_hidden_size = config.token_dim


def check(key: str, config: Any, encoder: PreTrainedModel) -> None:
    """Refuse virtual tokens if the encoder's forward does not take what they need. Raises ConfigError."""
    takes = inspect.signature(type(encoder).forward).parameters
    kind = encoder.config.model_type
    if encoder.config.is_encoder_decoder or "inputs_embeds" not in takes:
        raise ConfigError(
            f"{key}: a {kind} takes no virtual tokens; possible are lora, ia3, bitfit, bottleneck_houlsby"
        )
    if isinstance(config, PrefixTuningConfig) and "past_key_values" not in takes:
        raise ConfigError(
            f"{key}: a {kind} takes no keys and values from outside; possible are prompt, p_tuning_mlp, lora, ia3; a "
            "prefix serves bert, roberta, electra and decoders"
        )
