"""The stage store: folders named by a hash of what made them, built once, locked, checksummed, never half there."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from adapt.config import ConfigError
from adapt.store.keys import digest

log = logging.getLogger(__name__)
MANIFEST = "stage.json"
REPORT = "report.json"  # what a data stage says of how it came about: not part of what it is
UNFINISHED = ".unfinished"  # ends the name of a folder that is being built; a dot begins it
SCRATCH = "checkpoint"  # a stage keeps what it needs to resume in this folder of its own


@dataclass(frozen=True)
class Entry:
    """A complete stage: its folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def content(self) -> str:
        """sha256 over the names and hashes of the entry's files: equal for equal output, whatever made it."""
        return self.manifest["content"]


class Store:
    """The entries under ``root``; safe for any number of processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[Path, Entry] = {}

    def folder(self, kind: str, key: str) -> Path:
        """Where the entry of this key is or will be; the first 32 hex digits of the key name it."""
        return self.root / kind / key[:32]

    def complete(self, key: str) -> Path | None:
        """The folder of the complete entry under this key, of whichever kind."""
        return next((manifest.parent for manifest in self.root.glob(f"*/{key[:32]}/{MANIFEST}")), None)

    def find(self, kind: str, key: str) -> Entry | None:
        """The complete entry under this key, files checked once a process; a corrupt one is reported, not returned."""
        folder = self.folder(kind, key)
        if folder in self._verified and folder.exists():
            return self._verified[folder]
        if not (folder / MANIFEST).exists():
            return None
        fault = verify(folder)
        if fault is not None:
            log.warning("%s is corrupt (%s): it will be built again", folder, fault)
            return None
        entry = Entry(folder, json.loads((folder / MANIFEST).read_text()))
        self._verified[folder] = entry
        return entry

    def get_or_build(
        self, kind: str, key: str, identity: dict[str, Any], build: Callable[[Path], dict[str, Any]]
    ) -> Entry:
        """The entry under this key; where there is none, ``build(folder)`` makes it and returns notes for the manifest.

        One process builds while others wait. The lock dies with its holder. What a killed builder left is handed to
        the next one when it holds a checkpoint, so that the stage resumes.
        """
        found = self.find(kind, key)
        if found is not None:
            return found
        folder = self.folder(kind, key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(lock_of(folder), f"{kind} {folder.name[:8]}"):
            found = self.find(kind, key)  # another process may have built it while this one waited
            if found is not None:
                return found
            shutil.rmtree(folder, ignore_errors=True)  # only a corrupt entry can be here
            unfinished = folder.parent / f".{folder.name}{UNFINISHED}"
            keep_checkpoint_alone(unfinished)
            started = time.monotonic()
            try:
                notes = build(unfinished)
                shutil.rmtree(unfinished / SCRATCH, ignore_errors=True)
                manifest = {"kind": kind, "key": key, **identity, **notes, **checksums(unfinished)}
                manifest["seconds"] = time.monotonic() - started
                write_synced(unfinished / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
                os.replace(unfinished, folder)
            except Exception as error:
                if disk_is_full(error):
                    raise ConfigError(
                        f"runtime.root={self.root.parent}: the disk is full; nothing finished is lost"
                    ) from error
                raise
        entry = self.find(kind, key)
        assert entry is not None, folder
        return entry


def lock_of(folder: Path) -> Path:
    """The file that is locked while the folder is built or removed."""
    return folder.with_name(f".{folder.name}.lock")


def disk_is_full(error: BaseException | None) -> bool:
    """Whether a full disk began it: torch raises an error of its own on top, and safetensors tells it only in words."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if f"os error {errno.ENOSPC}" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def waiting_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; says so when another process holds it already."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for another process that builds %s", what)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def keep_checkpoint_alone(folder: Path) -> None:
    """Clear an unfinished folder of all but its checkpoint, or make it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and path.name != SCRATCH:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def checksums(folder: Path) -> dict[str, Any]:
    """Size and sha256 of every file, and ``content``, the hash of them all but the report."""
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_hash(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {"files": files, "content": digest({name: known for name, known in files.items() if name != REPORT})}


def verify(folder: Path) -> str | None:
    """What is wrong with a folder that claims to be complete, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files = manifest["files"]
    except (ValueError, KeyError) as error:
        return f"unreadable {MANIFEST}: {error}"
    for name, (size, sha256) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if file_hash(path) != sha256:
            return f"{name} has other bytes than were written"
    return None


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_synced(path: Path, text: str) -> None:
    """Write a file and wait until the disk has it, so that a rename after it never shows a torn file."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
