"""The outcome of each job of a command, and the end of the command: its summary, or its error message.

A job may run in another process or on another machine (``hydra/launcher=joblib``, ``slurm``). Its outcome comes back
inside Hydra's ``JobReturn`` and holds only strings, because not every exception can be pickled.
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
    """A job that failed: its overrides, the error in one sentence, the error's traceback."""

    def __init__(self, overrides: str, message: str, trace: str) -> None:
        super().__init__(overrides, message, trace)  # pickle calls the class with these
        self.overrides, self.message, self.trace = overrides, message, trace


# by overrides: a job of this process is noted twice, at its own end and by returned_value
_outcomes: dict[str, Finished | JobFailed] = {}


def note(outcome: Finished | JobFailed) -> None:
    """Remember a job's outcome for the end of the command."""
    _outcomes[outcome.overrides] = outcome


def forget() -> None:
    """Begin a new command in the same process."""
    _outcomes.clear()


def returned_value(returned: JobReturn) -> Any:
    """Replaces ``JobReturn.return_value``: notes the outcome, and does not raise the failure of a job of a sweep.

    Hydra's sweeper reads this property of every job in the command's own process, whichever launcher ran the job, and
    stops at the first that raises. The outcomes of the later jobs would be lost.
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
    finished = [outcome for outcome in _outcomes.values() if isinstance(outcome, Finished)]
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
    return any(isinstance(outcome, JobFailed) for outcome in _outcomes.values())


def refusal(error: Exception | None = None, *, traces: bool = False) -> str:
    """One message for the user: each error once and, in a sweep, the runs that it stopped.

    error: the error that ended the command itself, if any.
    traces: whether the tracebacks of the failed jobs come first.
    """
    failed = [outcome for outcome in _outcomes.values() if isinstance(outcome, JobFailed)]
    stopped: dict[str, list[str]] = defaultdict(list)
    for outcome in failed:
        stopped[outcome.message].append(outcome.overrides)
    if error is not None:
        stopped.setdefault(readable(error), [])
    lines = [outcome.trace for outcome in failed if traces]
    for message, runs in stopped.items():
        lines.append(f"error: {message}")
        lines += [f"  in the run {overrides}" for overrides in runs if len(_outcomes) > 1]
    if type(error).__module__.partition(".")[0] in ("joblib", "submitit"):  # a process died without an outcome
        words = " ".join(word for word in sys.argv[1:] if word not in ("-m", "--multirun"))
        lines.append(f"What became of each run: adapt status {words}")
    return "\n".join([*lines, "(HYDRA_FULL_ERROR=1 shows the traceback)"])
