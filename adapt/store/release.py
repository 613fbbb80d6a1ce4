"""The origin of an installed adapt: the file adapt/RELEASE, which setup.py writes into wheels and sdists.

Imports nothing but the standard library: setup.py reads this file before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "RELEASE"
SOURCES = ["adapt", "conf", "pyproject.toml", "requirements.lock"]  # a change in one of these makes a tree dirty


@dataclass(frozen=True)
class Release:
    """Version, sha256 of the sources, commit (None where the build knew none).

    dirty: whether the tree that it was built from differed from the commit. files: the package's Python files,
    {path: hash as git's}.
    """

    version: str
    hash: str
    commit: str | None
    dirty: bool
    files: dict[str, str] = field(default_factory=dict)


def blob(content: bytes) -> str:
    """The hash that git gives a file with these bytes: sha1 over their number and themselves; lines end in LF."""
    content = content.replace(b"\r\n", b"\n")
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def blobs(package: Path) -> dict[str, str]:
    """The hash of every Python file of the package, by path from the folder above it."""
    return {
        f"adapt/{path.relative_to(package).as_posix()}": blob(path.read_bytes())
        for path in sorted(package.rglob("*.py"))
    }


def source_hash(package: Path, conf: Path) -> str:
    """sha256 over names and bytes of the package's Python files and the option files; the same wherever conf/ lies."""
    files = {f"adapt/{path.relative_to(package).as_posix()}": path for path in package.rglob("*.py")}
    files |= {f"conf/{path.relative_to(conf).as_posix()}": path for path in conf.rglob("*.yaml")}
    together = hashlib.sha256()
    for name in sorted(files):
        together.update(f"{name} {hashlib.sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return together.hexdigest()


def read(package: Path) -> Release | None:
    """The release of an installed package; None where there is no RELEASE file."""
    try:
        return Release(**json.loads((package / FILE).read_bytes()))
    except FileNotFoundError:
        return None


def of_tree(root: Path, version: str) -> Release:
    """The release that a source tree would give: a git checkout, or an unpacked sdist, which has a RELEASE of its own.

    An sdist that was edited is dirty. Any other tree has no commit, only the hash of its sources.
    """
    current, files = source_hash(root / "adapt", root / "conf"), blobs(root / "adapt")
    commit, changes = git(root, "rev-parse", "HEAD"), git(root, "status", "--porcelain", "--", *SOURCES)
    if commit and changes is not None and git(root, "ls-files", "--error-unmatch", "pyproject.toml"):
        return Release(version, current, commit, bool(changes), files)
    given = read(root / "adapt")
    if given is None:
        return Release(version, current, None, False, files)
    same = given.hash == current
    return Release(version, current, given.commit if same else None, given.dirty or not same, files)


def write(release: Release, package: Path) -> None:
    """Write the RELEASE of a package that is being built."""
    (package / FILE).write_text(json.dumps(asdict(release), indent=1) + "\n", encoding="utf-8")


def git(root: Path, *args: str) -> str | None:
    """Stripped output of a git command in a folder; None where it fails or git is not installed."""
    try:
        done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
