"""A fine-tuned adapter over a base in memory: whether it fits, its modules around the base's weights, its head."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from peft import PeftConfig
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from adapt.adapters import folder as files
from adapt.adapters.folder import located, relative
from adapt.adapters.methods import kind
from adapt.adapters.selective import HeadConfig
from adapt.config import ConfigError
from adapt.models import heads
from adapt.models.decoders import is_decoder, last_token, last_token_head
from adapt.runs.finetuned import CLASSIFICATION, head_note, kind_of, whole
from adapt.serving.base import Base
from adapt.serving.content import content_of
from adapt.serving.mixed import takes_part

KEEP_BASE = (True, False, "gaussian", "eva", "orthogonal")  # initialisations of a LoRA that leave the base as it is
DOES_NOT_FIT = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, IndexError, OSError, SafetensorError)


@dataclass
class Folder:
    """The content of a fine-tuned model's folder, checked against a base.

    states: the weights of each adapter, oldest first; for a model without adapters, the weights of its own head.
    """

    path: Path
    labels: list[str]
    pooling: str
    configs: list[PeftConfig]
    states: list[dict[str, Tensor]]
    quantization: str | None
    unquantized: list[str]
    max_length: int | None
    """At how many tokens its texts are cut, as in its training."""
    changes_base: bool
    """Whether an adapter replaces weights of the base: biases, norms."""

    @property
    def is_mixed(self) -> bool:
        """Whether its rows can share a pass with other adapters' rows: one plain LoRA, or the base as it is."""
        if len(self.configs) > 1 or self.changes_base:
            return False
        return all(takes_part(config) or isinstance(config, HeadConfig) for config in self.configs)


@dataclass
class Served:
    """An adapter that is being served; a new version of it is a new object.

    network: the whole model; or only the head, where its rows share a pass with others' (``mixed`` is its key there).
    """

    folder: Folder
    network: PreTrainedModel | None
    head: heads.MeanHead | None
    mixed: str | None = None
    lock: Lock = field(default_factory=Lock)
    held: int = 0  # number of calls that use it now
    ended: bool = False  # to be removed once those are done

    @property
    def method(self) -> str:
        """peft's names for its adapters, oldest first, or HEAD."""
        return "+".join(map(kind, self.folder.configs)) or "HEAD"

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits [B, C] of a pass of its own; one at a time, because a pass may store state in its modules."""
        assert self.network is not None and self.mixed is None
        with self.lock:
            return heads.Classifier(self.network, self.head)(**batch)

    def of_states(self, hidden: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Logits [B, C] of its head on the last hidden states [B, L, H] of a mixed pass."""
        if self.head is not None:
            return self.head(hidden, batch["attention_mask"]).float()
        assert self.network is not None
        if is_decoder(self.network.config):
            return last_token_head(self.network)(last_token(hidden, batch["attention_mask"])).float()
        given = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return self.network(**given, inputs_embeds=hidden).logits.float()


def read(base: Base, name: str, path: Path) -> Folder:
    """Read a fine-tuned folder. Raises ConfigError if it is none, or of another base, or of another kind of task."""
    if not (path / heads.HEAD_NOTE).exists():
        raise ConfigError(
            f"{name}: {path} holds no fine-tuned classifier ({heads.HEAD_NOTE} is missing); possible are folders of "
            "fine-tuning stages and exports"
        )
    note = head_note(whole(path))
    if kind_of(note) != CLASSIFICATION:
        raise ConfigError(
            f"{name}: {path} is a model for {note['kind']}; only classifiers are served: use adapt predict"
        )
    adapters = files.adapter_folders(path)
    mismatch = base.content.mismatch(content_of(path, base.encoder))
    if mismatch is not None and adapters:
        raise ConfigError(
            f"{name}: {path} was fine-tuned on another base than {base.folder}: {mismatch}; serve it over its own base "
            f"with base={path}"
        )
    if mismatch is not None:
        raise ConfigError(
            f"{name}: {path} has no adapter, and its own weights are not the base's ({mismatch}): for a model whose "
            "weights were all trained, use adapt predict"
        )
    for adapter in adapters:
        if not (adapter / files.WEIGHTS).exists():
            raise ConfigError(f"{name}: {adapter} has no {files.WEIGHTS}; weights are read only from safetensors")
    base_note = json.loads((path / files.ADAPTERS / files.NOTE).read_text()) if adapters else {}
    try:
        states = [load_file(adapter / files.WEIGHTS) for adapter in adapters] or [own_head(path, base)]
        configs = [files.read_config(adapter) for adapter in adapters]
    except DOES_NOT_FIT as error:
        raise ConfigError(f"{name}: {path} cannot be read: {error}") from error
    for config in configs:
        refuse_another_start(f"{name}: {path}", config)
    prefix = f"{base.encoder.base_model_prefix}."
    held = {relative(key).removeprefix(prefix) for state in states for key in state}
    return Folder(
        path, note["labels"], note["pooling"], configs, states,
        base_note.get("quantization"), base_note.get("unquantized", []), note.get("max_length"),
        changes_base=not held.isdisjoint(base.content.weights),
    )  # fmt: skip


def refuse_another_start(where: str, config: PeftConfig) -> None:
    """Refuse a LoRA whose initialisation changes the base's weights, such as PiSSA. Raises ConfigError."""
    start = getattr(config, "init_lora_weights", True)
    if start not in KEEP_BASE:
        raise ConfigError(
            f"{where}: init_lora_weights={start}: it changes the base's weights, which all adapters share; possible "
            f"are {', '.join(map(str, KEEP_BASE))}; or convert the adapter to a plain LoRA (with peft's "
            "path_initial_model_for_weight_conversion)"
        )


def own_head(path: Path, base: Base) -> dict[str, Tensor]:
    """The weights outside the encoder of a model without adapters, and those of its pooler."""
    prefix = f"{base.encoder.base_model_prefix}."
    inside = set(base.content.weights)
    weights: dict[str, Tensor] = {}
    for file in path.glob("model*.safetensors"):
        weights |= {name: value for name, value in load_file(file).items() if name.removeprefix(prefix) not in inside}
    return weights


def build(base: Base, folder: Folder) -> Served:
    """Put the adapter's modules around the base's weights. Raises what torch and peft raise if it does not fit."""
    head = None
    if folder.pooling == "mean":
        head = heads.MeanHead(base.encoder.config.hidden_size, len(folder.labels), 0.0).to(base.device).eval()
        head.load_state_dict(load_file(folder.path / heads.HEAD_FILE))
    if folder.is_mixed:
        if head is None:
            network = base.headed(None)
            lay_in(network, folder.states)
            return Served(folder, network, None)
        return Served(folder, None, head)
    skin = base.skin(folder.quantization, folder.unquantized)
    network = skin if head is not None else base.headed(skin)
    make_room(network, folder.states, set(base.content.weights))
    files.put_back(network, files.adapter_folders(folder.path))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return Served(folder, network.to(base.device).eval(), head)  # type: ignore[arg-type]


def make_room(network: PreTrainedModel, states: list[dict[str, Tensor]], inside: Collection[str] = ()) -> list[str]:
    """Replace the weights that an adapter has trained by new ones, so that the base's stay as they are.

    inside: the names of the encoder's weights. All others belong to a head and get the shape in the file, which depends
    on the number of labels. Returns the names of the replaced weights.
    """
    prefix = f"{network.base_model_prefix}."
    names = {name: name for name, _ in network.named_parameters(remove_duplicate=False)}
    replaced = []
    for state in states:
        for key, value in state.items():
            name = located(relative(key), names, network)
            if name in names:
                parent, _, own = name.rpartition(".")
                old = network.get_parameter(name)
                like = old if name.removeprefix(prefix) in inside else value
                weight = nn.Parameter(torch.zeros_like(like, device=old.device), requires_grad=False)
                setattr(network.get_submodule(parent), own, weight)
                replaced.append(name)
    return replaced


def lay_in(network: Any, states: list[dict[str, Tensor]]) -> None:
    """Fill a head without its encoder. Raises KeyError for a weight that no file has."""
    names = make_room(network, states)
    lacking = {name for name, _ in network.named_parameters(remove_duplicate=False)} - set(names)
    if lacking:
        raise KeyError(f"its files lack {sorted(lacking)[0]}")
    known = {name: name for name in names}
    for state in states:
        for key, value in state.items():
            name = located(relative(key), known, network)
            if name in known:
                network.get_parameter(name).copy_(value)
