"""What became of each job of a study: ``<root>/jobs/<study>/<job>.json`` says running, done or failed.

A job is identified by its overrides, so that a study's whole grid can be looked up without composing any run. While a
job runs, its process holds a lock that the system releases when the process ends. A record that says running although
nobody holds the lock is that of a job that was cut.
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
    """Record that the job runs and, after the body, that it is done; the body puts ``run_id`` into the dict.

    Where the body raises, the record says running until ``failed`` is called. A job that was done before and is only
    looked up keeps its first record. If the same overrides now give another run (the code or the data changed), the
    older run is taken out of the study, whose table would otherwise hold both.
    """
    path = record_of(root, study, overrides)
    before = _read(path)
    lock = FileLock(_lock(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=1)  # adapt status holds the lock for an instant when it looks
    except Timeout:  # another process runs the same job; the store lets the two share its stages
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
    """Record that the job failed, with its traceback."""
    path = record_of(root, study, overrides)
    _write(path, study, overrides, {"state": FAILED, "traceback": traceback, **_earlier(_read(path))})
    return path


def of_study(root: Path, study: str) -> dict[Overrides, dict[str, Any]]:
    """The record of each job of a study, by the job's overrides. A running job whose lock nobody holds becomes cut."""
    records = {}
    for path in sorted(Path(root, "jobs", study).glob("*.json")):
        record = _read(path)
        if not record:
            continue
        if record["state"] == RUNNING and not _held(_lock(path)):
            record["state"] = CUT
        records[tuple(record["overrides"])] = record
    return records


def running_under(root: Path) -> list[dict[str, Any]]:
    """The records of the jobs that run now, of all studies."""
    studies = {path.parent.relative_to(root / "jobs").as_posix() for path in Path(root, "jobs").rglob("*.json")}
    records = (record for study in sorted(studies) for record in of_study(root, study).values())
    return [record for record in records if record["state"] == RUNNING]


def _earlier(record: dict[str, Any]) -> dict[str, str]:
    """The id of the run that the job last finished, for its next record; it survives records that say cut or failed."""
    run_id = record.get("run_id") or record.get("earlier")
    return {"earlier": run_id} if run_id else {}


def _take_out(root: Path, study: str, run_id: str | None) -> None:
    """Take a run out of a study if none of the study's jobs gives it any more; the file of the run itself stays."""
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
    """The record; empty where the file is missing or broken, and then the job counts as missing."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content
