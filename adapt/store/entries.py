"""The stage store: folders named by a hash of what made them; built once, locked, checksummed, published whole."""

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
SUMS = "checksums.json"  # of the files of an exported folder, which has no manifest
REPORT = "report.json"  # how a data stage came about; not part of its content hash
UNFINISHED = ".unfinished"  # suffix of the name of a folder that is being built; the name begins with a dot
SCRATCH = "checkpoint"  # the subfolder in which a stage keeps what it needs to resume


@dataclass(frozen=True)
class Entry:
    """A stage that is built completely: its folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def content(self) -> str:
        """sha256 over the names and hashes of the entry's files: equal output has equal content, whatever made it."""
        return self.manifest["content"]


class Store:
    """The entries under ``root``; safe for any number of processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: dict[Path, Entry] = {}

    def folder(self, kind: str, key: str) -> Path:
        """Where the entry of this key is or will be, named by the first 32 hex digits of the key."""
        return self.root / kind / key[:32]

    def complete(self, key: str) -> Path | None:
        """The folder of the complete entry under this key, of whichever kind."""
        return next((manifest.parent for manifest in self.root.glob(f"*/{key[:32]}/{MANIFEST}")), None)

    def find(self, kind: str, key: str) -> Entry | None:
        """The complete entry of this key, or None. Files are verified once per process; of a corrupt entry it warns."""
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
        """The entry of this key; if there is none, ``build(folder)`` makes it and returns notes for the manifest.

        identity: what the key was made from, for the manifest. One process builds while others wait. The lock is
        released when its holder dies. If a killed process left a checkpoint, the next one resumes from it.
        """
        entry = self.find(kind, key)
        if entry is not None:
            return entry
        folder = self.folder(kind, key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(lock_of(folder), f"{kind} {folder.name[:8]}"):
            entry = self.find(kind, key)  # another process may have built it while this one waited
            if entry is not None:
                return entry
            shutil.rmtree(folder, ignore_errors=True)  # only a corrupt entry can be here
            unfinished = folder.parent / f".{folder.name}{UNFINISHED}"
            clear_all_but_checkpoint(unfinished)
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
    """The lock file that a process holds while it builds or removes the folder."""
    return folder.with_name(f".{folder.name}.lock")


def disk_is_full(error: BaseException | None) -> bool:
    """Whether a full disk caused the error: torch wraps the OSError, and safetensors says it only in its message."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if f"os error {errno.ENOSPC}" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def waiting_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file; logs a warning if another process holds it already."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for another process that is building %s", what)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def clear_all_but_checkpoint(folder: Path) -> None:
    """Remove everything from an unfinished folder except its checkpoint; make the folder if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and path.name != SCRATCH:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def checksums(folder: Path) -> dict[str, Any]:
    """Size and sha256 of every file, and ``content``, one hash over all of them except the report."""
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_hash(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {"files": files, "content": digest({name: known for name, known in files.items() if name != REPORT})}


def write_sums(folder: Path) -> None:
    """Write the checksums of a folder that leaves the store, by which ``fault_of`` knows it."""
    (folder / SUMS).unlink(missing_ok=True)
    write_synced(folder / SUMS, json.dumps({"files": checksums(folder)["files"]}, indent=1) + "\n")


def fault_of(folder: Path) -> str | None:
    """What is wrong with a folder of the store or an export; None for a sound one, and one without checksums."""
    name = next((name for name in (MANIFEST, SUMS) if (folder / name).exists()), None)
    return None if name is None else verify(folder, name)


def verify(folder: Path, listed: str = MANIFEST) -> str | None:
    """What is wrong with a folder that claims to be complete, or None; listed: the file that lists the others."""
    try:
        files = json.loads((folder / listed).read_text())["files"]
    except (ValueError, KeyError, TypeError) as error:
        return f"unreadable {listed}: {error}"
    for name, (size, sha256) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if file_hash(path) != sha256:
            return f"the content of {name} is not what was written"
    return None


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_synced(path: Path, text: str) -> None:
    """Write a file and wait until it is on disk, so that a rename after that never exposes a partial file."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
