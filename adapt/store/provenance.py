"""Where a number comes from: commit, versions, device, threads; and where its sources' VERSION stands."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from adapt.store.keys import GENERATION

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ["adapt", "conf", "pyproject.toml", "requirements.lock"]  # a change here is a change of the experiment
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
    """The commit of the source tree, and whether its sources differ from it; outside git: ("unknown", True)."""
    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--", *SOURCES)
    if not commit or changes is None:
        return "unknown", True
    return commit, bool(changes)


def git(*args: str) -> str | None:
    """Stripped output of a git command in the repository; None where it fails or git is not installed."""
    try:
        done = subprocess.run(["git", *args], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
