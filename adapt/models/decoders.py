"""How decoders differ: they predict the next token, padding must not shift positions, the head reads the last token."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

from adapt.config import ConfigError

KEY_NAME = "models.decoders"
VERSION = 1


def is_decoder(config: Any) -> bool:
    """Whether a model of this config sees only earlier tokens, and transformers has a next-token head for it."""
    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not masked and not config.is_encoder_decoder


def is_causal(config: Any) -> bool:
    """Whether a model of this config is pretrained on next tokens (decoders), not on masked ones.

    Raises ConfigError where transformers has no class for either.
    """
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return False
    if is_decoder(config):
        return True
    raise ConfigError(
        f"a {config.model_type} can be pretrained neither on masked nor on next tokens: transformers has no such head "
        "for it; possible are encoders such as bert, roberta, modernbert, and decoders such as gpt2, llama, qwen2"
    )


def decoder_inputs(decoder: nn.Module, attention_mask: Tensor) -> dict[str, Any]:
    """The extra inputs of a decoder: no key cache, and position ids that begin at the first real token.

    With them, padding on the left shifts no token. ALiBi models take no position ids: they read the attention mask.
    """
    takes = inspect.signature(type(decoder).forward).parameters  # of the class: virtual tokens replace the instance's
    given = {"position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0), "use_cache": False}
    return {name: value for name, value in given.items() if name in takes}


def last_token_head(model: nn.Module) -> nn.Linear:
    """The single linear layer of a decoder's own classification head. Raises ConfigError if the head is another."""
    base: Any = model.base_model
    heads = [child for child in model.children() if child is not base and any(True for _ in child.parameters())]
    if len(heads) == 1 and isinstance(heads[0], nn.Linear) and getattr(base, "pooler", None) is None:
        return heads[0]
    raise ConfigError(
        f"finetune.pooling=cls: {type(model).__name__} has no linear head on the state of the last token; "
        "use finetune.pooling=mean"
    )


def last_token(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The state [B, H] of each row's last real token; hidden [B, L, H], attention_mask [B, L] is 1 at real tokens."""
    places = torch.arange(attention_mask.shape[1], device=hidden.device) * attention_mask
    return hidden[torch.arange(len(hidden), device=hidden.device), places.argmax(-1)]
