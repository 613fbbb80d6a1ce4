"""The user's own packages, whose functions a config may name as ``_target_``.

Only the user can allow a package, by ``adapt --packages mypkg ...`` or the environment variable ADAPT_PACKAGES. No
config can, so that a config from someone else stays safe to load. The processes of a run or a sweep inherit the
variable.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
from pathlib import Path

from adapt.config import ConfigError
from adapt.project.folder import folder

FLAG, VARIABLE = "--packages", "ADAPT_PACKAGES"
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def take_flag(words: list[str]) -> list[str]:
    """The words of a command line without ``--packages NAMES``; the names are put into the environment."""
    left, rest = [], iter(words)
    for word in rest:
        flag, equals, names = word.partition("=")
        if flag != FLAG:
            left.append(word)
            continue
        names = names if equals else next(rest, "")
        if not names:
            raise ConfigError(f"{FLAG}: needs the name of a package, or several with commas between")
        os.environ[VARIABLE] = names
    return left


def given() -> list[str]:
    """The names that the user gave. Raises ConfigError for one that cannot be the name of a package."""
    names = os.environ.get(VARIABLE, "").replace(",", " ").split()
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{VARIABLE}={name}: must be the name of a Python package")
    return names


def named() -> list[str]:
    """The packages that the user allows. Appends the project's folder to Python's path, so that they are found there.

    Raises ConfigError for a package that cannot be found.
    """
    names, place = given(), str(folder())
    if names and place not in sys.path:
        sys.path.append(place)
        importlib.invalidate_caches()
    for name in names:
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            raise ConfigError(f"{VARIABLE}={name}: no such package in {place}, and none is installed")
    return names


def is_named(target: str) -> bool:
    """Whether a dotted name lies in a package that the user allows."""
    return any(target == name or target.startswith(f"{name}.") for name in named())


def source_hash(module: str) -> str:
    """sha256 of a module's source and of every source of its top package that it imports, directly or indirectly.

    Read without importing the module. Raises ConfigError for a module without Python source.
    """
    together = hashlib.sha256()
    for name, source in sorted(_sources(module, {}).items()):
        together.update(f"{name} {hashlib.sha256(source).hexdigest()}\n".encode())
    return together.hexdigest()


def _sources(module: str, known: dict[str, bytes]) -> dict[str, bytes]:
    """Adds to ``known``, by dotted name, the sources of the module and of what it imports from its own top package."""
    file = source_file(module)
    if file is None:
        raise ConfigError(f"{module}: no such module, or none with Python source")
    known[module] = file.read_bytes()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for name in _imported(ast.parse(known[module]), package):
        if name.partition(".")[0] == module.partition(".")[0] and name not in known and source_file(name) is not None:
            _sources(name, known)
    return known


def _imported(tree: ast.Module, package: str) -> list[str]:
    """All dotted names that a module of ``package`` may import; ``from a import b`` gives both a and a.b."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def source_file(module: str) -> Path | None:
    """The Python file of a module, without importing it or its package; None where there is none."""
    top, *inside = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # such as __main__
        return None
    if spec is None:
        return None
    if not inside and spec.origin is not None and spec.origin.endswith(".py"):
        return Path(spec.origin)
    for place in spec.submodule_search_locations or []:
        path = Path(place, *inside)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if inside and file.is_file():
                return file
    return None
