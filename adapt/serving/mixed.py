"""Several LoRAs over one base in the same pass, each for its own rows of the batch: peft's mixed batches."""

from __future__ import annotations

import copy
import re
from itertools import count
from typing import Any, cast

import torch
from peft import LoraConfig, PeftConfig, PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from adapt.adapters.folder import relative
from adapt.models.decoders import decoder_inputs, is_decoder
from adapt.serving.base import frozen, sharing

BASE = "__base__"  # peft's name for a row without an adapter


def takes_part(config: PeftConfig) -> bool:
    """Whether peft can mix rows of this adapter with rows of others: only a plain LoRA, not DoRA, AdaLoRA and so on."""
    if type(config) is not LoraConfig or config.bias != "none" or config.use_dora:
        return False
    further = ("target_parameters", "layer_replication", "trainable_token_indices", "alora_invocation_tokens")
    return not any(getattr(config, name, None) for name in further)


def settings(config: PeftConfig) -> dict[str, Any]:
    """The settings that decide a LoRA's modules; not what it was trained on, or how it was loaded."""
    others = ("base_model_name_or_path", "revision", "inference_mode", "peft_version", "init_lora_weights")
    return {name: value for name, value in config.to_dict().items() if name not in others}


class MixedBatches:
    """LoRAs over one base. Only one pass or one change at a time: peft uses hooks to tell layers which row wants which.

    To add or delete modules, peft walks over the whole network several times. So the modules of a removed LoRA stay for
    the next one with the same settings; until then no row uses them. At most one such set is kept for each settings.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        self._encoder = encoder
        self._network: PeftModel | None = None
        self._weights: dict[str, dict[str, nn.Parameter]] = {}  # of each LoRA, by their names in its file
        self._settings: dict[str, dict[str, Any]] = {}
        self._free: list[str] = []
        self._numbers = count()

    def add(self, config: PeftConfig, state: dict[str, Tensor]) -> str:
        """Add a LoRA; state: the content of its file. Returns its key, which :meth:`states` takes.

        Raises ValueError or RuntimeError where it does not fit, and removes it again.
        """
        wanted = settings(config)
        key = next((free for free in self._free if self._settings[free] == wanted), None)
        if key is None:
            key = self._make_room(config)
        else:
            self._free.remove(key)
        try:
            self._fill(key, state)
        except (ValueError, RuntimeError):
            self.remove(key)
            raise
        return key

    def remove(self, key: str) -> None:
        """Remove a LoRA; the base's weights were never changed."""
        network = cast(PeftModel, self._network)
        if all(self._settings[free] != self._settings[key] for free in self._free):
            self._free.append(key)
            return
        network.set_adapter(next(name for name in network.peft_config if name != key))
        network.delete_adapter(key)
        frozen(network)
        del self._weights[key], self._settings[key]

    def _make_room(self, config: PeftConfig) -> str:
        key = f"adapter{next(self._numbers)}"
        config = copy.copy(config)
        config.init_lora_weights = True  # type: ignore[attr-defined]  # cheap; the weights are replaced anyway
        with torch.random.fork_rng(devices=[]):  # peft draws these weights
            if self._network is None:
                self._network = PeftModel(sharing(self._encoder), config, adapter_name=key)
            else:
                self._network.add_adapter(key, config)
        frozen(self._network).eval()
        mine = re.compile(rf"\.{key}(?=\.|$)")
        named = ((name.removeprefix("base_model.model."), one) for name, one in self._network.named_parameters())
        self._weights[key] = {mine.sub("", name): weight for name, weight in named if mine.search(name)}
        self._settings[key] = settings(config)
        return key

    @torch.no_grad()
    def _fill(self, key: str, state: dict[str, Tensor]) -> None:
        prefix = f"{self._encoder.base_model_prefix}."
        own = {relative(name).removeprefix(prefix): value for name, value in state.items() if "lora_" in name}
        room = self._weights[key]
        if own.keys() != room.keys():
            lacking, beyond = sorted(room.keys() - own.keys()), sorted(own.keys() - room.keys())
            raise ValueError(f"its file lacks {lacking[:2]}, and holds {beyond[:2]} that do not belong to it")
        for name, value in own.items():
            if value.shape != room[name].shape:
                shapes = f"{list(value.shape)}, but its configuration asks for {list(room[name].shape)}"
                raise ValueError(f"its file has {name} of the shape {shapes}")
        for name, value in own.items():
            room[name].copy_(value)

    def states(self, keys: list[str], batch: dict[str, Tensor]) -> Tensor:
        """The last hidden states [B, L, H] of a batch; row b uses the LoRA keys[b], or none where that is BASE."""
        if is_decoder(self._encoder.config):
            batch = batch | decoder_inputs(self._encoder, batch["attention_mask"])
        if self._network is None or set(keys) == {BASE}:
            return self._encoder(**batch).last_hidden_state
        try:
            return self._network(**batch, adapter_names=keys).last_hidden_state
        except Exception:
            forget_rows(self._network)
            raise


def forget_rows(network: nn.Module) -> None:
    """Remove the hooks that tell layers which row wants which adapter: peft leaves them in place if a pass fails."""
    for module in network.modules():
        for number, hook in list(module._forward_pre_hooks.items()):
            if "adapter_names" in getattr(hook, "keywords", {}):
                del module._forward_pre_hooks[number]
                module._forward_pre_hooks_with_kwargs.pop(number, None)
