"""What a stage is known by: the hash of its kind, its sources, its settings and its inputs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from adapt.project import packages

GENERATION = 2  # of all keys at once; rows say theirs, so that a study is never frozen of two (analysis.study.record)


def key_of(kind: str, versions: dict[str, Any], config: dict[str, Any], inputs: dict[str, str]) -> str:
    """Identity of a stage: sha256 of its kind, its sources' versions, its resolved config, its inputs' identities.

    And of the generation of keys, which stands for what all of them share: how sources, configs and inputs are named.
    """
    identity = {"kind": kind, "versions": versions, "config": config, "inputs": inputs}
    return digest({"generation": GENERATION, **identity})


def digest(content: Any) -> str:
    """sha256 of canonical JSON: key order and white space do not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@cache
def source_version(module: str) -> tuple[str, int | str]:
    """What a stage's key knows of one of its sources: its name there and its version.

    A module of adapt declares both at its head, as KEY_NAME and VERSION, and is read without being imported: its name
    in keys stays when the file moves. Another package's module is known by its own name and the package's version; one
    that the user names, or that is not installed from anywhere, by the hash of its source.
    """
    package = module.partition(".")[0]
    if package != "adapt" and packages.is_named(module):
        return module, packages.source_hash(module)
    if package != "adapt":
        try:
            return module, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return module, packages.source_hash(module)
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    source = Path(spec.origin).read_text(encoding="utf-8")
    name = re.search(r'^KEY_NAME = "([a-z0-9_.]+)"$', source, re.MULTILINE)
    version = re.search(r"^VERSION = (\d+)$", source, re.MULTILINE)
    assert name is not None and version is not None, f'{module} has no lines KEY_NAME = "<name>" and VERSION = <int>'
    return name[1], int(version[1])
