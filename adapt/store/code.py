"""The sources that made a stage: which they were, and which commit or release holds them.

A row counts as clean if a commit holds every source of its stages as it was when they ran, whenever that commit was
made. Nothing else makes a row dirty: its resolved config stands in the row, and other files did not compute it. A
source is known by the hash that git gives its bytes; the sources of a stage together are a state: {path: hash}. A root
keeps each state once, as ``<root>/code/<name>.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from adapt.project import packages
from adapt.store import provenance, release
from adapt.store.files import replace
from adapt.store.keys import PACKAGE, digest, source_file

FOLDER = "code"
HISTORY = 500  # commits that are searched, newest first
State = dict[str, str]


def state(modules: Iterable[str]) -> State:
    """The sources of adapt among these modules (dotted names), with their hashes now; {} if all are of others."""
    files = sorted(source_file(module) for module in set(modules) if module.partition(".")[0] == "adapt")
    return {f"adapt/{path.relative_to(PACKAGE).as_posix()}": release.blob(path.read_bytes()) for path in files}


def of_user(modules: Iterable[str]) -> list[str]:
    """The modules of the user's own packages among these, each with a hash of its source: 'mine.gust 3f2a9c01d4e5'."""
    own = [name for name in modules if name.partition(".")[0] != "adapt" and packages.is_named(name)]
    return [f"{name} {packages.source_hash(name)[:12]}" for name in own]


def differing(sources: State) -> list[str]:
    """The sources that differ from those of the commit that is checked out, or of the installed release."""
    held = _held_now()
    return [name for name, source in sources.items() if held.get(name) != source]


def kept(root: Path, sources: State) -> dict[str, Any]:
    """What a stage's manifest says of its sources, which are kept: their state's name, and whether it is dirty."""
    unknown = provenance.commit_and_dirty()[0] == provenance.UNKNOWN
    return {"code": keep(root, sources), "dirty": unknown or bool(differing(sources))}


def keep(root: Path, sources: State) -> str:
    """Write a state under the root unless it is there. Returns its name."""
    name = digest(sources)[:16]
    path = root / FOLDER / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, json.dumps(sources, indent=1) + "\n")
    return name


def read(root: Path, name: str) -> State | None:
    """A state of this root; None where its file is missing or broken."""
    try:
        content: State = json.loads((root / FOLDER / f"{name}.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content


def commit_of(sources: State) -> str | None:
    """The newest commit that holds all of these sources, or the installed release; None where there is none."""
    if not differing(sources):
        commit, _ = provenance.commit_and_dirty()
        return None if commit == provenance.UNKNOWN else commit
    if release.read(provenance.PACKAGE) is not None:
        return None
    root = provenance.PACKAGE.parent
    log = release.git(root, "log", f"--max-count={HISTORY}", "--format=%H", "--", *sources) or ""
    return next((commit for commit in log.split() if sources.items() <= _held_by(root, commit).items()), None)


def committed(root: Path, names: Iterable[str | None]) -> str | None:
    """The commit for a row whose stages had these states; None unless each state is known and in a commit.

    It is the one that is checked out if that holds all states, else the one of the last of them.
    """
    commit = None
    for name in names:
        sources = read(root, name) if name is not None else None
        commit = commit_of(sources) if sources is not None else None
        if commit is None:
            return None
    return commit


def _held_now() -> State:
    """The sources of the commit that is checked out, or of the installed release; {} where neither is known."""
    installed = release.read(provenance.PACKAGE)
    if installed is None:
        return _held_by(provenance.PACKAGE.parent, "HEAD")
    return {} if installed.dirty else installed.files


@cache
def _held_by(root: Path, commit: str) -> State:
    listed = release.git(root, "ls-tree", "-r", commit, "--", "adapt") or ""  # <mode> blob <hash>TAB<path>
    pairs = (line.split("\t", 1) for line in listed.splitlines())
    return {path: entry.split()[2] for entry, path in pairs}
