"""What became of the jobs of a command, as the process that was started knows it: the summary, and the refusal.

A job may run in another process or on another machine (``hydra/launcher=joblib``, ``slurm``). What it says of itself
comes back inside Hydra's ``JobReturn`` and is made of strings alone, because an exception need not survive pickling.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode

from adapt.runs.errors import readable


@dataclass(frozen=True)
class Finished:
    """A job that wrote its rows: its overrides, and where the rows are."""

    overrides: str
    root: str
    study: str | None
    run_id: str


class JobFailed(Exception):
    """A job that did not: its overrides, the error in a sentence, the error's traceback."""

    def __init__(self, overrides: str, message: str, trace: str) -> None:
        super().__init__(overrides, message, trace)  # pickle calls the class with these
        self.overrides, self.message, self.trace = overrides, message, trace


_known: dict[str, Finished | JobFailed] = {}  # by overrides: a job of this process is noted twice, as it ends and here


def note(outcome: Finished | JobFailed) -> None:
    """Keep what became of a job for the end of the command."""
    _known[outcome.overrides] = outcome


def forget() -> None:
    """Begin a new command in the same process."""
    _known.clear()


def returned_value(returned: JobReturn) -> Any:
    """What ``JobReturn.return_value`` does, and a failure of a sweep is noted instead of raised.

    Hydra's sweeper asks each job's return for it in the process that was started, whatever launched the job, and
    stops at the first that raises: the others would not be known.
    """
    value = returned._return_value
    if isinstance(value, (Finished, JobFailed)):
        note(value)
    if returned.status == JobStatus.COMPLETED:
        return value
    if isinstance(value, JobFailed) and returned.hydra_cfg.hydra.mode == RunMode.MULTIRUN:  # type: ignore[union-attr]
        return None
    raise value.__cause__ or value


JobReturn.return_value = JobReturn.return_value.getter(returned_value)  # type: ignore[attr-defined, method-assign]


def summary() -> None:
    """Print the scores of the runs that finished, and where their rows are."""
    finished = [outcome for outcome in _known.values() if isinstance(outcome, Finished)]
    if not finished:
        return
    from adapt import results
    from analysis import tables

    root, study = finished[-1].root, finished[-1].study
    table = results.load(Path(root), study)
    mine = table[table["run_id"].isin([outcome.run_id for outcome in finished])]
    print()
    print(tables.format_summary(mine))
    print(
        f"\n{mine['run_id'].nunique()} runs, {len(mine)} rows. Rows: {Path(root) / 'runs'}; "
        f"all of them as a table: adapt.results.load({root!r})"
    )
    root_given = "" if Path(root) == Path("outputs") else f" --root {root}"
    print(f"Freeze and draw them: adapt table {study}{root_given}, then adapt figures {study}")


def any_failed() -> bool:
    """Whether a job of this command failed."""
    return any(isinstance(outcome, JobFailed) for outcome in _known.values())


def refusal(error: Exception | None = None, *, traces: bool = False) -> str:
    """One message for the user: each thing that went wrong, once, and in a sweep the runs that it stopped.

    error: what ended the command itself, where it is more than the jobs' own failures.
    traces: with the traceback of each job that failed before it.
    """
    failed = [outcome for outcome in _known.values() if isinstance(outcome, JobFailed)]
    stopped: dict[str, list[str]] = defaultdict(list)
    for outcome in failed:
        stopped[outcome.message].append(outcome.overrides)
    if error is not None:
        stopped.setdefault(readable(error), [])
    lines = [outcome.trace for outcome in failed if traces]
    for message, runs in stopped.items():
        lines.append(f"error: {message}")
        lines += [f"  in the run {overrides}" for overrides in runs if len(_known) > 1]
    if type(error).__module__.partition(".")[0] in ("joblib", "submitit"):  # a process died, and its job said nothing
        words = " ".join(word for word in sys.argv[1:] if word not in ("-m", "--multirun"))
        lines.append(f"What became of each run: adapt status {words}")
    return "\n".join([*lines, "(HYDRA_FULL_ERROR=1 shows the traceback)"])
