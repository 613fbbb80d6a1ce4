"""Remove the stages that no run needs from the store: ``adapt gc`` lists them, ``--delete`` removes them.

A stage is needed if it led to a run that has rows. The others belong to older code or settings or to runs that never
finished; unfinished folders hold checkpoints. A sweep that is started again may reuse some of them, so give their
minimum age with --days. Nothing is removed while a job runs, and a stage that a process is building is never touched.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from adapt import results
from adapt.runs.journal import running_under
from adapt.store.entries import MANIFEST, UNFINISHED, Store, lock_of


@dataclass(frozen=True)
class Leftover:
    """A folder of the store that no run needs: its size, and the days since it was last written to."""

    folder: Path
    size: int
    days: float


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="adapt gc", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"), help="where the store is (default: outputs)")
    parser.add_argument("--days", type=float, default=0.0, help="only folders that are at least this old")
    parser.add_argument("--megabytes", type=float, default=0.0, help="only folders that are at least this large")
    parser.add_argument("--delete", action="store_true", help="remove them; without this they are only listed")
    args = parser.parse_args(arguments)
    if not (args.root / "store").is_dir():
        sys.exit(f"error: --root {args.root}: has no store; give the runtime.root of your runs")
    busy = running_under(args.root) if args.delete else []
    if busy:
        first = f"process {busy[0]['pid']} on {busy[0]['host']}"
        sys.exit(f"error: --delete: {len(busy)} jobs run under {args.root} ({first}), and may read what would go; wait")
    listed = [one for one in leftovers(args.root) if one.days >= args.days and one.size >= args.megabytes * 1e6]
    freed = 0
    for one in sorted(listed, key=lambda one: -one.size):
        in_use = args.delete and not remove(one.folder)
        freed += 0 if in_use else one.size
        state = "  in use, kept" if in_use else ""
        name = one.folder.relative_to(args.root / "store")
        print(f"{one.size / 1e6:10.1f} MB  {one.days:6.1f} days  {name}{state}")
    said = "removed" if args.delete else "to remove with --delete; nothing was removed"
    print(f"{len(listed)} folders that no run needs, {freed / 1e6:,.1f} MB {said}")


def leftovers(root: Path) -> Iterator[Leftover]:
    """The folders of the store, finished or not, that led to no run with rows."""
    needed = referenced(root)
    now = time.time()
    for folder in sorted((root / "store").glob("*/*")):
        if folder.is_dir() and folder not in needed:
            files = [path.stat() for path in folder.rglob("*") if path.is_file()]
            newest = max((file.st_mtime for file in files), default=folder.stat().st_mtime)
            yield Leftover(folder, sum(file.st_size for file in files), (now - newest) / 86400)


def referenced(root: Path) -> set[Path]:
    """The folders of all stages that led to the runs under a root."""
    store, needed = Store(root / "store"), set()
    for run in (root / "runs").glob("*.json"):
        evaluation = results.evaluation(root, run.stem)
        needed |= {evaluation, *results.readings(root, run.stem)}
        if (evaluation / MANIFEST).exists():
            ancestors = json.loads((evaluation / MANIFEST).read_bytes())["ancestors"]
            needed |= {store.folder(stage["kind"], stage["key"]) for stage in ancestors}
    return needed


def remove(folder: Path) -> bool:
    """Remove a folder of the store and its lock file; False where a process holds the lock."""
    lock = lock_of(folder.with_name(folder.name.removeprefix(".").removesuffix(UNFINISHED)))
    try:
        with FileLock(lock, timeout=0):
            shutil.rmtree(folder)
    except Timeout:
        return False
    lock.unlink(missing_ok=True)
    return True


if __name__ == "__main__":
    main()
