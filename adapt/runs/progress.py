"""How far a study is: the state of each of its jobs, and how long the rest would take, judged by those that are done.

``begin`` is called once for a command that may be a sweep. It remembers the sweep's grid for ``place``, which each job
says at its start. It keeps the grid of a study's own file as ``<root>/grids/<study>.json``, against which
``adapt table`` counts the runs that are not done.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapt.config import ConfigError
from adapt.runs import grid, journal
from adapt.runs.grid import Sweep, without_seeds
from adapt.runs.journal import CUT, DONE, FAILED, RUNNING, Overrides
from adapt.store.files import replace

MISSING = "missing"
STATES = (DONE, RUNNING, FAILED, CUT, MISSING)
Taken = dict[Overrides, list[float]]  # seconds of the done jobs, by their overrides without seeds


@dataclass(frozen=True)
class Status:
    """The jobs of a study's grid in their order, each with its state and record.

    extra: the number of runs of the study that are done but not in this grid.
    """

    study: str
    jobs: list[tuple[Overrides, str, dict[str, Any]]]
    extra: int

    def of(self, state: str) -> list[tuple[Overrides, dict[str, Any]]]:
        """The jobs in a state."""
        return [(overrides, record) for overrides, its_state, record in self.jobs if its_state == state]

    def taken(self) -> Taken:
        """How long the done jobs took."""
        seconds: Taken = defaultdict(list)
        for overrides, record in self.of(DONE):
            seconds[without_seeds(overrides)].append(record["seconds"])
        return seconds


@dataclass
class Running:
    """The sweep of this command: its grid, the jobs that are done, and how long they took."""

    sweep: Sweep
    done: set[Overrides]
    taken: Taken = field(default_factory=lambda: defaultdict(list))


_running: list[Running] = []  # of this process: none, or one


def status(root: Path, study: str, points: Iterable[Overrides]) -> Status:
    """The state of each point of a grid, read only from the records of its jobs."""
    records = journal.of_study(root, study)
    missing: dict[str, Any] = {"state": MISSING}
    jobs = [(point, record["state"], record) for point in points for record in [records.get(point, missing)]]
    outside = set(records) - {point for point, _, _ in jobs}
    return Status(study, jobs, sum(records[overrides]["state"] == DONE for overrides in outside))


def seconds(left: Iterable[Overrides], taken: Taken) -> float | None:
    """About how long jobs would take one after another; None if no job is done by which to judge.

    Each counts as the mean of the done jobs with its settings under other seeds or, without any, of all done jobs.
    """
    if not any(taken.values()):
        return None
    typical = statistics.fmean(one for some in taken.values() for one in some)
    return sum(statistics.fmean(taken.get(without_seeds(overrides)) or [typical]) for overrides in left)


def minutes(duration: float) -> str:
    """A duration in seconds, in words: '40 s', '12 min', '3.5 h'."""
    if duration < 90:
        return f"{duration:.0f} s"
    return f"{duration / 60:.0f} min" if duration < 5400 else f"{duration / 3600:.1f} h"


def begin(words: list[str]) -> None:
    """Remember and keep the grid of a command that has several runs; does nothing for any other."""
    _running.clear()
    if {"-h", "--help", "--hydra-help", "--cfg", "-c", "--info", "-i"} & set(words):
        return
    plain = [word for word in words if word not in ("-m", "--multirun")]
    may_sweep = plain != words or any(word.lstrip("+").startswith(("experiment=", "hydra.mode=")) for word in plain)
    words = plain
    if not may_sweep or any(word.startswith("-") for word in words):  # a single run is not composed twice
        return
    sweep = None
    with suppress(Exception):  # a command that cannot be composed is refused where it runs
        sweep = grid.sweep(words)
    if sweep is not None and not sweep.points:
        raise ConfigError(f"{' '.join(words)}: an axis without a value, so there is no run at all")
    with suppress(Exception):
        if sweep is None:
            return
        if len(sweep.points) > 1 and not any(word.lstrip("+").startswith("runtime.dry_run=") for word in words):
            before = status(sweep.root, sweep.study, sweep.points)
            _running.append(Running(sweep, {overrides for overrides, _ in before.of(DONE)}, before.taken()))
            _keep(sweep, [word for word in words if word.lstrip("+").startswith("experiment=")])


def place(overrides: Overrides) -> str | None:
    """Where a job stands in this command's sweep: 'run 3 of 72; about 14 min are left'; None outside of a sweep."""
    if not _running or overrides not in _running[0].sweep.points:
        return None
    points = _running[0].sweep.points
    number = points.index(overrides)
    left = seconds([point for point in points[number:] if point not in _running[0].done], _running[0].taken)
    said = f"run {number + 1} of {len(points)}"
    return said if left is None else f"{said}; about {minutes(left)} are left, judged by the runs that are done"


def finished(overrides: Overrides, duration: float) -> None:
    """Note how many seconds a job of the sweep took; one that was only looked up says nothing of the others."""
    if _running and overrides not in _running[0].done:
        _running[0].done.add(overrides)
        _running[0].taken[without_seeds(overrides)].append(duration)


def interrupted() -> str:
    """What to say when the user stops the command."""
    if not _running:
        return "interrupted; the same command goes on where it stopped"
    sweep = _running[0].sweep
    now = status(sweep.root, sweep.study, sweep.points)
    done, cut = len(now.of(DONE)), len(now.of(CUT)) + len(now.of(RUNNING))
    return f"interrupted: {done} of {len(sweep.points)} runs are done, {cut} cut; the same command goes on"


def _keep(sweep: Sweep, study: list[str]) -> None:
    """Keep the grid that the study's file gives, of which this sweep may be a part."""
    if study:
        points = grid.sweep(study).points
        replace(sweep.root / "grids" / f"{sweep.study}.json", json.dumps(points) + "\n")
