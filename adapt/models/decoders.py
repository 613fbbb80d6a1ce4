"""What sets a decoder apart: it predicts next tokens, padding must not move them, and its own head reads the last."""

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
    """Whether a model of this config sees the text before a token alone, and transformers lets it predict the next."""
    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not masked and not config.is_encoder_decoder


def is_causal(config: Any) -> bool:
    """Whether a model of this config is trained on next tokens: one that cannot guess masked ones, or is a decoder.

    Raises ConfigError where transformers has no class for either.
    """
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return False
    if is_decoder(config):
        return True
    raise ConfigError(
        f"a {config.model_type} can be pretrained neither on masked nor on next tokens: transformers has no such head "
        "for it; possible are encoders such as bert, roberta, modernbert and decoders such as gpt2, llama, qwen2"
    )


def decoder_inputs(decoder: nn.Module, attention_mask: Tensor) -> dict[str, Any]:
    """What a decoder must be told so that padding on the left moves no token: positions that begin at the first real
    one, where it takes any (ALiBi models read the mask instead); and to keep no keys for a generation.
    """
    takes = inspect.signature(type(decoder).forward).parameters  # an instance's own, of virtual tokens, passes all on
    given = {"position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0), "use_cache": False}
    return {name: value for name, value in given.items() if name in takes}


def last_token_head(model: nn.Module) -> nn.Linear:
    """The one linear layer of a decoder's own classification head; a ConfigError where it has another."""
    base: Any = model.base_model
    heads = [child for child in model.children() if child is not base and any(True for _ in child.parameters())]
    if len(heads) == 1 and isinstance(heads[0], nn.Linear) and getattr(base, "pooler", None) is None:
        return heads[0]
    raise ConfigError(
        f"finetune.pooling=cls: {type(model).__name__} has no linear head on the state of the last token; "
        "use finetune.pooling=mean"
    )


def last_token(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """[B, L, H] at the last position of each row where attention_mask [B, L] is 1: [B, H]."""
    places = torch.arange(attention_mask.shape[1], device=hidden.device) * attention_mask
    return hidden[torch.arange(len(hidden), device=hidden.device), places.argmax(-1)]
