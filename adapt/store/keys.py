"""The key of a stage: a hash of its kind, its sources' versions, its settings and its inputs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from adapt.project import packages

PACKAGE = Path(__file__).resolve().parents[1]
GENERATION = 2  # of all keys; rows say theirs, so that no frozen study mixes generations (analysis.study.record)


def key_of(kind: str, versions: dict[str, Any], config: dict[str, Any], inputs: dict[str, str]) -> str:
    """The key: sha256 of the stage's kind, its sources' versions, its resolved config, and what identifies its inputs.

    The generation of keys enters too. It stands for what all keys share: how sources, configs and inputs are named.
    """
    named = {"kind": kind, "versions": versions, "config": config, "inputs": inputs}
    return digest({"generation": GENERATION, **named})


def digest(content: Any) -> str:
    """sha256 of the content as canonical JSON, in which the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def source_file(module: str) -> Path:
    """The file of a module of adapt. Imports nothing: importlib would import the packages above it, torch with some."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def source_version(module: str) -> tuple[str, int | str]:
    """What enters a stage's key for one of its sources: its name in keys, and its version.

    A module of adapt declares both at its head, as KEY_NAME and VERSION, and is read without being imported; its name
    in keys stays the same when the file moves. A module of another package has its own name and the package's version;
    one that the user names, or that belongs to no installed package, has the hash of its source.
    """
    package = module.partition(".")[0]
    if package != "adapt" and packages.is_named(module):
        return module, packages.source_hash(module)
    if package != "adapt":
        try:
            return module, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return module, packages.source_hash(module)
    source = source_file(module).read_text(encoding="utf-8")
    name = re.search(r'^KEY_NAME = "([a-z0-9_.]+)"$', source, re.MULTILINE)
    version = re.search(r"^VERSION = (\d+)$", source, re.MULTILINE)
    assert name is not None and version is not None, f'{module} has no lines KEY_NAME = "<name>" and VERSION = <int>'
    return name[1], int(version[1])
