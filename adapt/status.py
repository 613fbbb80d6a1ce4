"""How far a study is: which runs are done, running, failed, cut or missing, and how long the rest would take.

``adapt status experiment=quickstart``, with the same overrides as the sweep itself.
"""

from __future__ import annotations

import argparse
import os
import sys

from hydra.core.config_store import ConfigStore

from adapt.config import Config
from adapt.runs import grid
from adapt.runs.errors import readable
from adapt.runs.journal import CUT, DONE, FAILED, RUNNING, Overrides
from adapt.runs.progress import MISSING, STATES, Status, seconds, status
from adapt.store import provenance


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="adapt status", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="+", help="as for adapt: experiment=<study> and what is swept")
    parser.add_argument("-m", "--multirun", action="store_true", help="as for adapt; changes nothing here")
    parser.add_argument("--all", action="store_true", help="name every missing run, not the first ten")
    args = parser.parse_intermixed_args(arguments)
    ConfigStore.instance().store(name="schema", node=Config)
    try:
        sweep = grid.sweep(args.overrides)
        print(describe(status(sweep.root, sweep.study, sweep.points), None if args.all else 10))
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.exit(f"error: {readable(error)}\n(HYDRA_FULL_ERROR=1 shows the traceback)")


def describe(progress: Status, most_missing: int | None) -> str:
    """The status as text: counts, running jobs, failed ones and why, cut ones, missing ones, and the time to go."""
    common = set.intersection(*(set(overrides) for overrides, _, _ in progress.jobs))

    def named(overrides: Overrides) -> str:
        return " ".join(word for word in overrides if word not in common) or " ".join(overrides)

    lines = [f"{progress.study}: {len(progress.jobs)} runs ({' '.join(sorted(common))})"]
    lines += [f"  {state:<8} {len(progress.of(state))}" for state in STATES]
    here = provenance.commit_and_dirty()[0]
    older = sum(record["commit"] != here for _, record in progress.of(DONE))
    if older:
        lines.append(f"  {older} of the done runs are of another commit; the sweep rebuilds what the changes affect")
    if progress.extra:
        lines.append(f"  {progress.extra} more done runs of this study are not in this grid")
    for overrides, record in progress.of(RUNNING):
        where = f"since {record['created_at']}, process {record['pid']} on {record['host']}"
        lines.append(f"running {where}: {named(overrides)}")
    for overrides, record in progress.of(FAILED):
        lines.append(f"failed: {named(overrides)}: {record['traceback'].strip().splitlines()[-1]}")
    lines += [f"cut, goes on from its last checkpoint: {named(overrides)}" for overrides, _ in progress.of(CUT)]
    missing = progress.of(MISSING)
    lines += [f"missing: {named(overrides)}" for overrides, _ in missing[:most_missing]]
    if most_missing is not None and len(missing) > most_missing:
        lines.append(f"missing: {len(missing) - most_missing} more (--all names them)")
    return "\n".join([*lines, cost(progress)])


def cost(progress: Status) -> str:
    """How long the runs that are left would take one after another."""
    left = [overrides for state in (FAILED, CUT, MISSING) for overrides, _ in progress.of(state)]
    if not left:
        return "Nothing is left to run."
    duration = seconds(left, progress.taken())
    runs = "1 run is" if len(left) == 1 else f"{len(left)} runs are"
    if duration is None:
        return f"{runs} left; none is done to estimate their time by (runtime.dry_run=true estimates a run)."
    return f"{runs} left, about {duration / 60:,.0f} minutes one after another, judged by those that are done."


if __name__ == "__main__":
    main()
