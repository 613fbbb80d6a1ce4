"""Where a number comes from: commit, versions, device, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from adapt.config import CONF
from adapt.store import release
from adapt.store.keys import GENERATION

PACKAGE = Path(__file__).resolve().parents[1]
UNKNOWN = "unknown"  # the commit, where there is neither git nor a release
PACKAGES = ["torch", "transformers", "accelerate", "numpy", "scikit-learn", "tokenizers", "pyarrow"]


def provenance(device: str, threads: int, processes: int) -> dict[str, Any]:
    """Commit, time (UTC), versions, device, threads and processes, for the manifest of a stage."""
    return {
        "commit": commit_and_dirty()[0],
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "device": device,
        "threads": threads,
        "processes": processes,
    }


@cache
def commit_and_dirty() -> tuple[str, bool]:
    """The commit of the sources, and whether they differ from it; ("unknown", True) where neither is known.

    In a checkout both come from git. An installed package has a RELEASE file; it is dirty if its files have changed
    since, or if it was built from a dirty tree.
    """
    installed = release.read(PACKAGE)
    if installed is not None:
        return of_release(installed)
    commit = release.git(PACKAGE.parent, "rev-parse", "HEAD")
    changes = release.git(PACKAGE.parent, "status", "--porcelain", "--", *release.SOURCES)
    if not commit or changes is None:
        return UNKNOWN, True
    return commit, bool(changes)


def of_release(installed: release.Release) -> tuple[str, bool]:
    """Commit and dirty flag of an installed release.

    If it has no commit, or was edited, a hash of its sources and its version stand in for the commit.
    """
    now = release.source_hash(PACKAGE, CONF)
    edited = now != installed.hash
    if installed.commit is not None and not edited:
        return installed.commit, installed.dirty
    return f"{now[:12]} adapt-{installed.version}", edited or installed.dirty


@cache
def versions() -> str:
    """The versions of Python and of the packages that decide the bytes of a result, and the generation of keys."""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return "; ".join([f"python {platform.python_version()}", *packages, f"keys {GENERATION}"])


def usable_threads(asked: int | None) -> int:
    """The requested number of threads; else OMP_NUM_THREADS; else one for each core that this process may use.

    A launcher that starts several processes on one machine sets OMP_NUM_THREADS, so that they share the cores.
    """
    if asked is not None:
        return asked
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2", for nested levels: the outermost
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
