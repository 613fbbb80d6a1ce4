"""What became of each job of a study: ``<root>/jobs/<study>/<job>.json`` says running, done or failed.

A job is known by its overrides, so that a study's whole grid can be looked up without composing a run of it. While a
job runs it holds a lock that dies with its process: what says running and holds none was cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from adapt.store import provenance
from adapt.store.files import replace

RUNNING, DONE, FAILED, CUT = "running", "done", "failed", "cut"
Overrides = tuple[str, ...]


@contextmanager
def running(root: Path, study: str, overrides: Overrides) -> Iterator[dict[str, Any]]:
    """Say that the job runs, then that it is done; the body puts its ``run_id`` into the dict that it is given.

    Where the body raises, the last word stays running until ``failed`` is said. A job that was done before, and is only
    looked up, keeps the record of the time when it was built. One that comes to another run than before (another
    version of the code, other data) takes the older run out of the study, whose table would have its rows twice.
    """
    path = record_of(root, study, overrides)
    before = _read(path)
    lock = FileLock(_lock(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=1)  # a look at the status holds it for an instant
    except Timeout:  # another process runs the same job, and the store sees to it that they share its stages
        yield {}
        return
    started = time.monotonic()
    try:
        job = {"state": RUNNING, "pid": os.getpid(), "host": platform.node(), **_earlier(before)}
        _write(path, study, overrides, job)
        yield job
        done = {"state": DONE, "run_id": job["run_id"], "seconds": time.monotonic() - started}
        if before.get("state") == DONE and before.get("run_id") == job["run_id"]:
            replace(path, json.dumps(before) + "\n")
        else:
            _write(path, study, overrides, done | {"commit": provenance.commit_and_dirty()[0]})
            _take_out(root, study, _earlier(before).get("earlier"))
    finally:
        lock.release()


def failed(root: Path, study: str, overrides: Overrides, traceback: str) -> Path:
    """Say that the job failed, and keep its traceback."""
    path = record_of(root, study, overrides)
    _write(path, study, overrides, {"state": FAILED, "traceback": traceback, **_earlier(_read(path))})
    return path


def of_study(root: Path, study: str) -> dict[Overrides, dict[str, Any]]:
    """The record of each job of a study by its overrides; one that says running and holds no lock is cut."""
    found = {}
    for path in sorted(Path(root, "jobs", study).glob("*.json")):
        record = _read(path)
        if not record:
            continue
        if record["state"] == RUNNING and not _held(_lock(path)):
            record["state"] = CUT
        found[tuple(record["overrides"])] = record
    return found


def running_under(root: Path) -> list[dict[str, Any]]:
    """The records of the jobs of all studies that run now."""
    studies = {path.parent.relative_to(root / "jobs").as_posix() for path in Path(root, "jobs").rglob("*.json")}
    records = (record for study in sorted(studies) for record in of_study(root, study).values())
    return [record for record in records if record["state"] == RUNNING]


def _earlier(record: dict[str, Any]) -> dict[str, str]:
    """What a job's next record keeps of the run that it came to before, however often it was cut or failed since."""
    known = record.get("run_id") or record.get("earlier")
    return {"earlier": known} if known else {}


def _take_out(root: Path, study: str, run_id: str | None) -> None:
    """Take a run out of a study that none of its jobs comes to any more; its own file stays."""
    if run_id is not None and all(record.get("run_id") != run_id for record in of_study(root, study).values()):
        Path(root, "studies", study, f"{run_id}.json").unlink(missing_ok=True)


def _held(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def record_of(root: Path, study: str, overrides: Overrides) -> Path:
    """The file of a job's record."""
    name = hashlib.sha256(json.dumps(overrides).encode()).hexdigest()[:16]
    return Path(root, "jobs", study, f"{name}.json")


def _lock(path: Path) -> Path:
    return path.with_name(f".{path.stem}.lock")


def _write(path: Path, study: str, overrides: Overrides, job: dict[str, Any]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"experiment": study, "overrides": overrides, "created_at": now}
    replace(path, json.dumps(record | job) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """The record, or an empty one where there is none or a broken one: the job then counts as missing."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content
