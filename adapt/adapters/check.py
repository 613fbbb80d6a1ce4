"""Whether a model can have a method, asked of its modules without weights, before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from peft import AdaptionPromptConfig

from adapt.adapters import bits, quantization, virtual_tokens
from adapt.adapters.methods import Adapter, core_of, put_on
from adapt.adapters.selective import BitFitConfig, biases
from adapt.adapters.stage import method_of
from adapt.config import ConfigError, PeftConfig

LLAMA_ADAPTER = ("llama", "mistral", "gpt2")


def check_method(key: str, cfg: PeftConfig, network: Any) -> None:
    """Refuse a method that the architecture cannot serve; says what can. Raises ConfigError.

    network: a transformers model on the device "meta", which is changed.
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
            f"{given}: serves {', '.join(LLAMA_ADAPTER)} alone, not a {kind}; possible are lora, ia3, prompt, bitfit"
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
        if "meta" not in str(error):  # VeRA draws its matrices on the CPU whatever the device
            raise ConfigError(f"{given}: a {kind} cannot have it: {error}") from error
