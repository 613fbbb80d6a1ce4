"""Opens a folder's network, and refuses weights that do not fit it: what is missing would be random.

transformers only warns of tensors that are new, not used, or of another shape, and its warnings are switched off here,
because new heads are ordinary. New may be a head, a pooler, and nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from adapt.config import ConfigError, first_line

ADAPTER = "adapter_config.json"
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def safe_loading() -> dict[str, Any]:
    """Arguments of from_pretrained: float32 whatever the checkpoint holds, only safetensors, no code from it."""
    return {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False, "local_files_only": True}


def opened(kind: Any, folder: Path, **more: Any) -> tuple[PreTrainedModel, list[str]]:
    """The network of a folder by an Auto class, and the names of its new weights, which are of a head or a pooler.

    A head of another shape than the config's counts as new. Raises ConfigError for files that cannot be read and for
    weights that do not fit the network.
    """
    if (folder / ADAPTER).exists():
        raise ConfigError(
            f"{folder / ADAPTER}: an adapter beside a model; transformers would put it on top of the weights, whether "
            "or not they hold it already. If they do, remove adapter_config.json and adapter_model.safetensors; if "
            "not, merge it first (peft: merge_and_unload), and give the merged folder"
        )
    try:
        network, info = kind.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, **{**safe_loading(), **more}
        )
    except Exception as error:  # safetensors, OSError of a missing shard, KeyError and RuntimeError of broken files
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{folder}: its weights cannot be read: {first_line(error)}; needed are model.safetensors, or all shards "
            "that model.safetensors.index.json names (adapt unwrap writes them from other formats)"
        ) from error
    refuse_unfit(network, info, folder)
    other_shape = {entry[0] for entry in info["mismatched_keys"]}
    return network, sorted({*info["missing_keys"], *other_shape})


def check_weights(kind: Any, folder: Path) -> list[str]:
    """As ``opened``, without reading a tensor: on the meta device, in hundredths of a second. Only the names."""
    return opened(kind, folder, device_map={"": "meta"})[1]


def refuse_unfit(network: PreTrainedModel, info: dict[str, Any], folder: Path) -> None:
    """Raise ConfigError if the folder's weights lack a tensor of the network under the head, or have it otherwise.

    info: the loading info of transformers: missing_keys, unexpected_keys, mismatched_keys.
    """
    prefix = f"{network.base_model_prefix}."
    bare = network.base_model is network

    def below_head(name: str) -> bool:
        return (bare or name.startswith(prefix)) and "pooler" not in name.split(".")

    kind = f"a {network.config.model_type}"
    unused = sorted(info["unexpected_keys"])
    if lacking := sorted(filter(below_head, info["missing_keys"])):
        message = f"{folder}: its weights lack {len(lacking)} tensors of {kind}, such as {lacking[0]}"
        raise ConfigError(message + _hint(folder, [name.removeprefix(prefix) for name in lacking], unused))
    if other := sorted(entry for entry in info["mismatched_keys"] if below_head(entry[0])):
        name, given, asked = other[0]
        raise ConfigError(
            f"{folder}: {name} has the shape {list(given)} in its weights, but {list(asked)} by config.json"
            + (f"; so do {len(other) - 1} more" if len(other) > 1 else "")
        )
    own = {_NUMBER.sub("#", name.removeprefix(prefix)) for name in network.state_dict() if below_head(name)}
    layers = [name for name in unused if _NUMBER.sub("#", name.removeprefix(prefix)) in own]
    if layers:
        raise ConfigError(
            f"{folder}: its weights have more layers than config.json says: {len(layers)} tensors, such as "
            f"{layers[0]}, would not be used; correct config.json"
        )


def _hint(folder: Path, lacking: list[str], unused: list[str]) -> str:
    """What to do about missing tensors; lacking: their names without the base model's prefix."""
    if wrapper := wrapper_of(lacking, unused):
        return f"; it names them with {wrapper} before: `adapt unwrap {folder} <new folder>` takes it off"
    return f"; it has {len(unused)} that are not used, such as {unused[0]}" if unused else ""


def wrapper_of(lacking: list[str], unused: list[str]) -> str | None:
    """What a wrapper (DDP, torch.compile, Lightning) has put before the names; None if they differ otherwise.

    lacking: names without the base model's prefix. unused: the names in the file.
    """
    for name in unused:
        for wanted in lacking:
            if name.endswith(f".{wanted}"):
                return name.removesuffix(wanted)
    return None
