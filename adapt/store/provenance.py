"""Where a number comes from: commit, versions, device, threads; and where its sources' VERSION stands."""

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
PACKAGES = ["torch", "transformers", "accelerate", "numpy", "scikit-learn", "tokenizers", "pyarrow"]


def provenance(device: str, threads: int, processes: int) -> dict[str, Any]:
    """Commit, dirty flag, time (UTC), versions, device, thread and process count of what this process builds."""
    commit, dirty = commit_and_dirty()
    return {
        "commit": commit,
        "dirty": dirty,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "device": device,
        "threads": threads,
        "processes": processes,
    }


@cache
def commit_and_dirty() -> tuple[str, bool]:
    """The commit of the sources, and whether they differ from it; ("unknown", True) where there is neither.

    In a checkout git says both. An installed package has its RELEASE: it is dirty if its files have been changed
    since, or if the tree that it was built from was dirty.
    """
    installed = release.read(PACKAGE)
    if installed is not None:
        return of_release(installed)
    commit = release.git(PACKAGE.parent, "rev-parse", "HEAD")
    changes = release.git(PACKAGE.parent, "status", "--porcelain", "--", *release.SOURCES)
    if not commit or changes is None:
        return "unknown", True
    return commit, bool(changes)


def of_release(installed: release.Release) -> tuple[str, bool]:
    """The commit of an installed release; where it has none or was edited, the hash of its sources and its version."""
    now = release.source_hash(PACKAGE, CONF)
    edited = now != installed.hash
    if installed.commit is not None and not edited:
        return installed.commit, installed.dirty
    return f"{now[:12]} adapt-{installed.version}", edited or installed.dirty


@cache
def versions() -> str:
    """Python, the packages that decide the bytes of a result, and the generation of keys, as one short string."""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return "; ".join([f"python {platform.python_version()}", *packages, f"keys {GENERATION}"])


def usable_threads(asked: int | None) -> int:
    """The thread count asked for; else OMP_NUM_THREADS; else one for each core that this process may use.

    A launcher that starts several processes on a machine sets OMP_NUM_THREADS, so that they share its cores.
    """
    if asked is not None:
        return asked
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2": of nested levels, the outermost
    if given.isdigit() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
