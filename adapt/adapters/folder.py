"""Adapters on disk: a base's own folder, and beside its files ``adapters/<n>`` in peft's format, oldest first."""

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
    """What stands on a transformers model, as its attribute ``adaptation``.

    base: the folder whose weights lie under the adapters, unchanged. unquantized: of a quantised base, what stayed.
    """

    base: Path
    adapters: list[Adapter] = field(default_factory=list)
    quantization: str | None = None
    unquantized: list[str] = field(default_factory=list)


def of(network: Any) -> Adaptation | None:
    """The model's adaptation, where it has an adapter."""
    found = vars(network).get("adaptation")
    return found if found is not None and found.adapters else None


def restore(network: PreTrainedModel, folder: Path, missing: list[str], *, adapted: bool) -> list[str]:
    """Put the folder's adapters on a model that was loaded from it, frozen; leave torch's random state as it was.

    missing: the names of weights that the folder's base lacks. Returns those that no adapter has learned either.
    adapted: False takes the base alone.
    """
    adaptation = Adaptation(folder)
    network.adaptation = adaptation  # type: ignore[assignment]  # a plain attribute
    bits.keep_layout(network)  # of an export whose layers are in 4 bits already
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
    filled = {here[name] for name in learned}  # by the weight, which may have two names
    return [name for name in missing if here[name] not in filled]


def put_back(network: PreTrainedModel, files: list[Path]) -> set[str]:
    """Put the adapters of these folders on a model, oldest first; leave torch's random state as it was.

    Returns the names of the model's own weights that they hold, which now have their values.
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
    """An adapter's config, of peft or ours."""
    content = json.loads((folder / CONFIG).read_text())
    if content["peft_type"] in OWN:
        fields = {name: value for name, value in content.items() if name != "peft_type"}
        return cast(PeftConfig, OWN[content["peft_type"]](**fields))
    config = PeftConfig.from_pretrained(str(folder))
    if hasattr(config, "modules_to_save"):
        config.modules_to_save = None  # what peft would wrap; here those weights are put where they belong
    return config


@torch.no_grad()
def fill(network: PreTrainedModel, adapter: Adapter, state: dict[str, Tensor]) -> set[str]:
    """Put an adapter's file into the model; returns the names of the model's own weights among it.

    A weight of another head than the model has is left out. Raises KeyError where one of the adapter's own is missing,
    and ValueError for one of another shape.
    """
    here = network.state_dict(keep_vars=True)
    names = {plain(name): name for name in here}
    found = dict(zip(map(relative, state), state.values(), strict=True))
    rooted = {located(name, names, network): value for name, value in found.items()}
    for name, weight in here.items():
        if adapter.owns(name) and not adapter.is_virtual:
            put_in(weight, rooted.pop(own_name(adapter, name)), name)
    whole = {name: value for name, value in rooted.items() if name is not None and name in names}
    for name in adapter.whole:  # biases or norms; a pooler is none of the encoder's, and new where there is one
        if name not in whole and "pooler" not in name.split("."):
            raise KeyError(f"{name} is not in its file")
    for name, value in whole.items():
        put_in(here[names[name]], value, name)
    adapter.whole = list(whole)
    return set(whole)


def put_in(weight: Tensor, value: Tensor, name: str) -> None:
    """Copy, but not what would be spread over a larger shape."""
    if weight.shape != value.shape:
        raise ValueError(f"{name} is of the shape {list(value.shape)} in its file, not {list(weight.shape)}")
    weight.copy_(value)


def located(name: str, names: dict[str, str], network: PreTrainedModel) -> str:
    """A saved name as it is in this model, which may have another head: with or without the base model's prefix."""
    prefix = f"{network.base_model_prefix}."
    whole = network.base_model is not network
    if name in names or not (name.startswith(prefix) or whole):
        return name
    if whole:
        return name if name.startswith(prefix) else prefix + name
    return name.removeprefix(prefix)


def save(network: PreTrainedModel, folder: Path) -> None:
    """Write a model without adapters as transformers does; else its base, linked where the disk can, and each adapter.

    Each file of adapters holds what peft would keep: the adapter's own weights and, as ``modules_to_save``, the weights
    of the model that were trained whole, heads that are new at load among them.
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
        if adapter.source is not None:  # frozen since; a later adapter may have trained some of its weights further
            for name in (WEIGHTS, CONFIG):
                shutil.copyfile(adapter.source / name, into / name)
            continue
        names = [name for name in state if adapter.owns(name) and not adapter.is_virtual]
        kept = {own_name(adapter, name): state[name] for name in names}
        kept |= {plain(name): value for name, value in state.items() if plain(name) in set(adapter.whole)}
        kept = {f"base_model.model.{name}": value.detach().cpu().contiguous().clone() for name, value in kept.items()}
        if adapter.is_virtual:
            kept[PROMPT] = prompt_of(network, adapter)
        save_file(kept, into / WEIGHTS, metadata={"format": "pt"})
        config = {**adapter.config.to_dict(), "base_model_name_or_path": None, "inference_mode": True}
        config |= {"peft_type": kind(adapter.config)}
        if "modules_to_save" in config and adapter.whole:
            prefix = f"{network.base_model_prefix}."
            config["modules_to_save"] = sorted({name.removeprefix(prefix).split(".")[0] for name in adapter.whole})
        if "rank_pattern" in config and kind(adapter.config) == "ADALORA":
            config["rank_pattern"] = None  # the file holds all ranks, those that were taken away as zeros
        text = json.dumps(config, indent=1, sort_keys=True, default=lambda value: sorted(value)) + "\n"
        (into / CONFIG).write_text(text)
    note = {"quantization": adaptation.quantization, "unquantized": adaptation.unquantized}
    (folder / ADAPTERS / NOTE).write_text(json.dumps(note) + "\n")


@torch.no_grad()
def prompt_of(network: PreTrainedModel, adapter: Adapter) -> Tensor:
    """What a prompt or prefix adds, computed: the network that made it is not kept (peft's format)."""
    tokens = core_of(network).get_submodule(virtual_tokens.NAME)
    assert isinstance(tokens, virtual_tokens.VirtualTokens)
    prompt = (tokens.prompts if adapter.name in tokens.prompts else tokens.prefixes)[adapter.name]
    training = prompt.training
    prompt.eval()
    found = virtual_tokens.whole(prompt).detach().cpu().clone()
    prompt.train(training)
    return found


def own_name(adapter: Adapter, name: str) -> str:
    """The name of an adapter's weight in its file, as peft has it: without the adapter's name."""
    inner = re.sub(rf"\.{adapter.name}(?=\.|$)", "", plain(name))
    return inner.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def relative(name: str) -> str:
    """A name of an adapter's file without peft's root."""
    return name.removeprefix("base_model.model.")


def link_base(base: Path, folder: Path) -> None:
    """Bring the base's config and weights into the folder: hard links, or copies across file systems."""
    if base.resolve() == folder.resolve():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file in base.glob("model*.safetensors"):
        target = folder / file.name
        target.unlink(missing_ok=True)  # of an attempt that was killed; never written through a link
        try:
            os.link(file.resolve(), target)
        except OSError:
            shutil.copyfile(file, target)
    for name in ("config.json", "generation_config.json", "model.safetensors.index.json"):
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)


def kept_bytes(network: Any, folder: Path) -> int:
    """The bytes of a stage that must be kept beside the base that it began with: adapters and our head's file.

    All weights, where they were trained, or where merging an earlier adapter has made a base of the stage's own.
    """
    adaptation = of(network)
    own_base = adaptation is None or adaptation.base.resolve() == folder.resolve()
    names = [f"{ADAPTERS}/*/{WEIGHTS}", "head.safetensors", *(["model*.safetensors"] if own_base else [])]
    return sum(file.stat().st_size for name in names for file in folder.glob(name))
