"""Whether a method fits a model: decided from the model's modules, without weights, before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from peft import AdaptionPromptConfig
from torch import nn

from adapt.adapters import bits, quantization, virtual_tokens
from adapt.adapters.methods import Adapter, core_of, put_on
from adapt.adapters.selective import BitFitConfig, biases
from adapt.adapters.stage import method_of
from adapt.config import ConfigError, PeftConfig

LLAMA_ADAPTER = ("llama", "mistral", "gpt2")


def heads_fit(encoder: nn.Module) -> bool:
    """Whether peft's llama_adapter reads the heads right: it takes hidden size / key width for the heads per key head.

    That is right only if the queries of all heads together are as wide as the hidden states.
    """
    attentions = [module for name, module in encoder.named_modules() if name.endswith(".self_attn")]  # none in GPT-2
    return all(
        one.k_proj.in_features // one.k_proj.out_features * one.k_proj.out_features == one.q_proj.out_features  # type: ignore
        for one in attentions
    )


def check_method(key: str, cfg: PeftConfig, network: Any) -> None:
    """Refuse a method that the architecture does not support, and say which ones it does. Raises ConfigError.

    network: a transformers model on the device "meta"; it is modified.
    """
    if cfg.method is None:
        return
    quantization.check(key, cfg.quantization)
    given, kind = f"{key}={cfg.name}", network.config.model_type
    try:
        config = method_of(cfg, network)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}.method: {error}") from error
    if cfg.quantization is not None and not bits.linear_layers(network):
        raise ConfigError(
            f"{key}.quantization={cfg.quantization}: a {kind} has no nn.Linear in its layers; choose lora"
        )
    if isinstance(config, AdaptionPromptConfig) and kind not in LLAMA_ADAPTER:
        raise ConfigError(
            f"{given}: serves only {', '.join(LLAMA_ADAPTER)}, not a {kind}; possible are lora, ia3, prompt, bitfit"
        )
    if isinstance(config, AdaptionPromptConfig) and not heads_fit(network.base_model):
        raise ConfigError(
            f"{given}: peft's needs heads of width hidden_size / num_attention_heads, but this {kind} has others "
            f"(head_dim={network.config.head_dim}); possible are lora, ia3, prompt"
        )
    if config.is_prompt_learning:
        virtual_tokens.check(given, config, core_of(network))
        return
    if isinstance(config, BitFitConfig) and not biases(network.base_model):
        raise ConfigError(f"{given}: a {kind} has no bias terms; possible are lora, ia3, prompt")
    try:
        with torch.device("meta"):
            put_on(network, Adapter("adapter0", config))
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error):  # VeRA draws its matrices on the CPU, whatever the device
            raise ConfigError(f"{given}: a {kind} cannot have it: {error}") from error
