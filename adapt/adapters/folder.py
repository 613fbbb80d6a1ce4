"""Adapters on disk: a base model's folder with ``adapters/<n>`` beside its files, in peft's format, oldest first."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from adapt.adapters import bits, quantization, virtual_tokens
from adapt.adapters.bottleneck import BottleneckConfig
from adapt.adapters.methods import Adapter, core_of, kind, plain, put_on
from adapt.adapters.selective import BitFitConfig, HeadConfig

KEY_NAME = "adapters.folder"
VERSION = 1
ADAPTERS, CONFIG, WEIGHTS, NOTE = "adapters", "adapter_config.json", "adapter_model.safetensors", "base.json"
OWN = {"BOTTLENECK": BottleneckConfig, "BITFIT": BitFitConfig, "HEAD": HeadConfig}
PROMPT = "prompt_embeddings"


@dataclass
class Adaptation:
    """The adapters on a transformers model, which has this as its attribute ``adaptation``.

    base: the folder whose weights lie under the adapters, unchanged. unquantized: the modules of a quantised base that
    were left in full precision.
    """

    base: Path
    adapters: list[Adapter] = field(default_factory=list)
    quantization: str | None = None
    unquantized: list[str] = field(default_factory=list)


def of(network: Any) -> Adaptation | None:
    """The model's adaptation; None if it has no adapter."""
    adaptation = vars(network).get("adaptation")
    return adaptation if adaptation is not None and adaptation.adapters else None


def restore(network: PreTrainedModel, folder: Path, missing: list[str], *, adapted: bool) -> list[str]:
    """Put the folder's adapters on a model that was loaded from it, frozen; leave torch's random state as it was.

    missing: the names of weights that the folder's base lacks. Returns those that no adapter has learned either.
    adapted: False loads only the base.
    """
    adaptation = Adaptation(folder)
    network.adaptation = adaptation  # type: ignore[assignment]  # a plain attribute
    bits.keep_layout(network)  # for an export whose layers are already in 4 bits
    files = adapter_folders(folder) if adapted else []
    if not files:
        return missing
    note = json.loads((folder / ADAPTERS / NOTE).read_text())
    adaptation.quantization, adaptation.unquantized = note["quantization"], note["unquantized"]
    if adaptation.quantization is not None:
        quantization.check(f"{folder}", adaptation.quantization)
        quantization.quantize(network, adaptation.quantization, adaptation.unquantized)
    learned = put_back(network, files)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    here = {plain(name): id(weight) for name, weight in network.state_dict(keep_vars=True).items()}
    filled = {here[name] for name in learned}  # by id, because a weight may have two names
    return [name for name in missing if here[name] not in filled]


def put_back(network: PreTrainedModel, files: list[Path]) -> set[str]:
    """Put the adapters of these folders on a model, oldest first; leave torch's random state as it was.

    Returns the names of the model's own weights that the folders held and that were overwritten.
    """
    adaptation = cast(Adaptation, network.adaptation)
    states = [load_file(file / WEIGHTS) for file in files]
    with torch.random.fork_rng(devices=[]):
        for number, (file, state) in enumerate(zip(files, states, strict=True)):
            adapter = Adapter(f"adapter{number}", read_config(file), source=file)
            put_on(network, adapter, learned=state.pop(PROMPT, None))
            adaptation.adapters.append(adapter)
    learned: set[str] = set()
    for adapter, state in zip(adaptation.adapters, states, strict=True):
        learned |= fill(network, adapter, state)
    return learned


def adapter_folders(folder: Path) -> list[Path]:
    """The folders of a stage's adapters, oldest first."""
    return sorted((folder / ADAPTERS).glob("*/"), key=lambda path: int(path.name))


def read_config(folder: Path) -> PeftConfig:
    """An adapter's config, peft's or one of ours."""
    content = json.loads((folder / CONFIG).read_text())
    if content["peft_type"] in OWN:
        fields = {name: value for name, value in content.items() if name != "peft_type"}
        return cast(PeftConfig, OWN[content["peft_type"]](**fields))
    config = PeftConfig.from_pretrained(str(folder))
    if hasattr(config, "modules_to_save"):
        config.modules_to_save = None  # peft would wrap these modules; ``fill`` puts their weights where they belong
    return config


@torch.no_grad()
def fill(network: PreTrainedModel, adapter: Adapter, state: dict[str, Tensor]) -> set[str]:
    """Copy an adapter's file into the model; returns the names of the model's own weights that the file held.

    Weights of a head that this model does not have are skipped. Raises KeyError if one of the adapter's own weights is
    missing, and ValueError if one has another shape.
    """
    here = network.state_dict(keep_vars=True)
    names = {plain(name): name for name in here}
    weights = dict(zip(map(relative, state), state.values(), strict=True))
    rooted = {located(name, names, network): value for name, value in weights.items()}
    for name, weight in here.items():
        if adapter.owns(name) and not adapter.is_virtual:
            put_in(weight, rooted.pop(own_name(adapter, name)), name)
    whole = {name: value for name, value in rooted.items() if name is not None and name in names}
    for name in adapter.whole:  # biases or norms; a pooler may be missing: where the model has one, it is new
        if name not in whole and "pooler" not in name.split("."):
            raise KeyError(f"{name} is not in its file")
    for name, value in whole.items():
        put_in(here[names[name]], value, name)
    adapter.whole = list(whole)
    return set(whole)


def put_in(weight: Tensor, value: Tensor, name: str) -> None:
    """Copy a value into a weight of the same shape; raises ValueError instead of broadcasting."""
    if weight.shape != value.shape:
        raise ValueError(f"{name} has the shape {list(value.shape)} in its file, not {list(weight.shape)}")
    weight.copy_(value)


def located(name: str, names: dict[str, str], network: PreTrainedModel) -> str:
    """The name that a saved weight has in this model: with or without the base model's prefix, as its head requires."""
    prefix = f"{network.base_model_prefix}."
    whole = network.base_model is not network
    if name in names or not (name.startswith(prefix) or whole):
        return name
    if whole:
        return name if name.startswith(prefix) else prefix + name
    return name.removeprefix(prefix)


def save(network: PreTrainedModel, folder: Path) -> None:
    """Write a model without adapters as transformers does; else its base (as hard links if possible) and its adapters.

    An adapter's file holds what peft would save: the adapter's own weights and, as ``modules_to_save``, the model's
    weights that were trained in full, including heads that were new when the model was loaded.
    """
    adaptation = of(network)
    if adaptation is None:
        network.save_pretrained(folder)
        return
    link_base(adaptation.base, folder)
    state = network.state_dict()
    for number, adapter in enumerate(adaptation.adapters):
        into = folder / ADAPTERS / str(number)
        into.mkdir(parents=True, exist_ok=True)
        if adapter.source is not None:  # frozen since it was read; a later adapter may have trained its whole weights
            for name in (WEIGHTS, CONFIG):
                shutil.copyfile(adapter.source / name, into / name)
            continue
        names = [name for name in state if adapter.owns(name) and not adapter.is_virtual]
        saved = {own_name(adapter, name): state[name] for name in names}
        saved |= {plain(name): value for name, value in state.items() if plain(name) in set(adapter.whole)}
        saved = {f"base_model.model.{name}": value.detach().cpu().contiguous().clone() for name, value in saved.items()}
        if adapter.is_virtual:
            saved[PROMPT] = prompt_of(network, adapter)
        save_file(saved, into / WEIGHTS, metadata={"format": "pt"})
        config = {**adapter.config.to_dict(), "base_model_name_or_path": None, "inference_mode": True}
        config |= {"peft_type": kind(adapter.config)}
        if "modules_to_save" in config and adapter.whole:
            prefix = f"{network.base_model_prefix}."
            config["modules_to_save"] = sorted({name.removeprefix(prefix).split(".")[0] for name in adapter.whole})
        if "rank_pattern" in config and kind(adapter.config) == "ADALORA":
            config["rank_pattern"] = None  # the file holds all ranks; those that were removed are zeros
        text = json.dumps(config, indent=1, sort_keys=True, default=lambda value: sorted(value)) + "\n"
        (into / CONFIG).write_text(text)
    note = {"quantization": adaptation.quantization, "unquantized": adaptation.unquantized}
    (folder / ADAPTERS / NOTE).write_text(json.dumps(note) + "\n")


@torch.no_grad()
def prompt_of(network: PreTrainedModel, adapter: Adapter) -> Tensor:
    """The learned values of a prompt or prefix; the network that computes them is not saved (as in peft's format)."""
    tokens = core_of(network).get_submodule(virtual_tokens.NAME)
    assert isinstance(tokens, virtual_tokens.VirtualTokens)
    prompt = (tokens.prompts if adapter.name in tokens.prompts else tokens.prefixes)[adapter.name]
    training = prompt.training
    prompt.eval()
    learned = virtual_tokens.whole(prompt).detach().cpu().clone()
    prompt.train(training)
    return learned


def own_name(adapter: Adapter, name: str) -> str:
    """The name of an adapter's weight in its file: as in peft's files, without the adapter's name."""
    inner = re.sub(rf"\.{adapter.name}(?=\.|$)", "", plain(name))
    return inner.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def relative(name: str) -> str:
    """A weight's name in an adapter's file, without the prefix that peft puts before all of them."""
    return name.removeprefix("base_model.model.")


def link_base(base: Path, folder: Path) -> None:
    """Bring the base's config and weights into the folder: as hard links, or as copies across file systems."""
    if base.resolve() == folder.resolve():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file in base.glob("model*.safetensors"):
        target = folder / file.name
        target.unlink(missing_ok=True)  # left by an attempt that was killed; removed first: never write through a link
        try:
            os.link(file.resolve(), target)
        except OSError:
            shutil.copyfile(file, target)
    for name in ("config.json", "generation_config.json", "model.safetensors.index.json"):
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)


def bytes_beside_base(network: Any, folder: Path) -> int:
    """How many bytes a stage has to store beside the base that it started from: its adapters and our head's file.

    All weights count if they were trained, or if merging an earlier adapter gave the stage a base of its own.
    """
    adaptation = of(network)
    own_base = adaptation is None or adaptation.base.resolve() == folder.resolve()
    names = [f"{ADAPTERS}/*/{WEIGHTS}", "head.safetensors", *(["model*.safetensors"] if own_base else [])]
    return sum(file.stat().st_size for name in names for file in folder.glob(name))
