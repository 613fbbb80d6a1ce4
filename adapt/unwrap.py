"""Write a checkpoint that a wrapper saved as a plain model folder, which adapt and transformers can open.

DistributedDataParallel puts ``module.`` before every name, torch.compile ``_orig_mod.``, Lightning ``model.`` or the
name of the attribute; a .bin or .ckpt file is written as safetensors. Config and tokenizer are copied.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, first_line

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.ckpt", "*.pt", "*.pth")


def main(arguments: list[str] | None = None) -> int:
    """``adapt unwrap <folder> <new folder>``."""
    parser = argparse.ArgumentParser(prog="adapt unwrap", description=__doc__)
    parser.add_argument("folder", type=Path, help="with config.json, the tokenizer and the weights")
    parser.add_argument("new", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--prefix", help="what to take off each name (default: what the network's names call for)")
    given = parser.parse_args(arguments)
    try:
        print(unwrap(given.folder, given.new, given.prefix))
    except ConfigError as error:
        parser.exit(1, f"error: {error}\n")
    return 0


def unwrap(folder: Path, new: Path, prefix: str | None = None) -> str:
    """Write the folder's model into a new folder; returns what was done.

    prefix: what to take off each tensor's name; None: found by the names of the network that config.json describes.
    Tensors without the prefix are left out, and counted. Raises ConfigError if no weights fit that network.
    """
    if new.exists():
        raise ConfigError(f"{new}: exists already; give the name of a new folder")
    from safetensors.torch import save_file
    from transformers import AutoModel

    from adapt.checks.models import read_config, skeleton
    from adapt.models.weights import check_weights, wrapper_of

    network = skeleton(read_config(folder))
    base = f"{network.base_model_prefix}."
    tensors = read(folder)
    if prefix is None:
        wanted = [name for name in network.state_dict() if "pooler" not in name.split(".")]
        under = wrapper_of(wanted, sorted(tensors)) or ""
        prefix = under.removesuffix(base)
    kept = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    new.mkdir(parents=True)
    for file in folder.iterdir():
        if file.is_file() and not any(file.match(pattern) for pattern in (*WEIGHTS, "*.index.json")):
            shutil.copyfile(file, new / file.name)
    # cloned, because tied matrices share memory, which safetensors refuses
    apart = {name: value.contiguous().clone() for name, value in kept.items()}
    save_file(apart, new / "model.safetensors", metadata={"format": "pt"})
    try:
        check_weights(AutoModel, new)
    except ConfigError:
        shutil.rmtree(new)
        raise
    left = f"; {len(tensors) - len(kept)} tensors without it were left out" if len(kept) < len(tensors) else ""
    return f"{new}: {len(kept)} tensors" + (f", {prefix} taken off their names{left}" if prefix else "")


def read(folder: Path) -> dict[str, Any]:
    """The tensors of all weight files of the first kind that the folder has. Runs no code from them."""
    import torch
    from safetensors.torch import load_file

    for pattern in WEIGHTS:
        files = sorted(folder.glob(pattern))
        tensors: dict[str, Any] = {}
        for file in files:
            try:
                content = (
                    load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
                )
            except Exception as error:  # pickle, zip and safetensors raise many types
                raise ConfigError(f"{file}: cannot be read: {first_line(error)}") from error
            if not isinstance(content, dict):
                raise ConfigError(f"{file}: holds a {type(content).__name__}, not tensors by their names")
            content = dict(content.get("state_dict", content))  # Lightning's checkpoints hold more
            tensors |= {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if tensors:
            return tensors
    raise ConfigError(f"{folder}: no weights in it; looked for {', '.join(WEIGHTS)}")


if __name__ == "__main__":
    sys.exit(main())
