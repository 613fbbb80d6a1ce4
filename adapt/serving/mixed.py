"""Rows of several LoRAs in one pass over their base: peft's mixed batches."""

from __future__ import annotations

import re
from typing import Any, cast

import torch
from peft import LoraConfig, PeftConfig, PeftModel, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel

from adapt.adapters.folder import relative
from adapt.serving.base import frozen, sharing

BASE = "__base__"  # peft's word for a row without an adapter


def takes_part(config: PeftConfig) -> bool:
    """Whether peft can mix rows of this adapter with rows of others: a plain LoRA; not DoRA, AdaLoRA, (IA)3 or VeRA."""
    if type(config) is not LoraConfig or config.bias != "none" or config.use_dora:
        return False
    further = ("target_parameters", "layer_replication", "trainable_token_indices", "alora_invocation_tokens")
    return not any(getattr(config, name, None) for name in further)


class MixedBatches:
    """LoRAs over one base. One pass, or one change, at a time: peft tells the layers by hooks which row wants which."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        self._encoder = encoder
        self._network: PeftModel | None = None

    def add(self, key: str, config: PeftConfig, state: dict[str, Tensor]) -> None:
        """Take in a LoRA; state: its file. Raises ValueError or RuntimeError where it does not fit, and forgets it."""
        own = {name: value for name, value in state.items() if "lora_" in name}
        prefix = f"{self._encoder.base_model_prefix}."
        own = {f"base_model.model.{relative(name).removeprefix(prefix)}": value for name, value in own.items()}
        with torch.random.fork_rng(devices=[]):  # peft draws weights that are then replaced
            if self._network is None:
                self._network = PeftModel(sharing(self._encoder), config, adapter_name=key)
            else:
                self._network.add_adapter(key, config)
        try:
            found: Any = set_peft_model_state_dict(self._network, own, adapter_name=key)
            mine = re.compile(rf"lora_.*\.{key}\.")
            lacking = [name for name in found.missing_keys if mine.search(name)]
            if lacking or found.unexpected_keys:
                raise ValueError(f"its file lacks {lacking[:2]}, and holds {found.unexpected_keys[:2]} beyond")
        except (ValueError, RuntimeError):
            self.remove(key)
            raise
        frozen(self._network).eval()

    def remove(self, key: str) -> None:
        """Forget a LoRA; the weights under it were never touched."""
        network = cast(PeftModel, self._network)
        if len(network.peft_config) == 1:
            self._network = None
        else:
            keep = next(name for name in network.peft_config if name != key)
            network.set_adapter(keep)
            network.delete_adapter(key)
            frozen(network)

    def states(self, keys: list[str], batch: dict[str, Tensor]) -> Tensor:
        """The last hidden states [B, L, H] of a batch whose row b wants the LoRA keys[b], or BASE."""
        if self._network is None or set(keys) == {BASE}:
            return self._encoder(**batch).last_hidden_state
        return self._network(**batch, adapter_names=keys).last_hidden_state
