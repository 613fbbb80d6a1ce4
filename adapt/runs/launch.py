"""Run one chain in several processes of this machine (``runtime.processes=N``), and report their first error."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from adapt.config import Config, ConfigError
from adapt.runs.pipeline import Pipeline
from adapt.store import provenance

log = logging.getLogger(__name__)
STOPS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")  # signals that are passed on to the processes

GRACE = 300  # seconds for a stopped process to finish its step and write a checkpoint; torch gives 30


class WorkerFailed(RuntimeError):
    """A process of the run raised an error; the message holds that error and its traceback."""


def run(pipeline: Pipeline) -> str:
    """Run a chain; returns the run's id. A finished run is looked up in this process and starts no others."""
    if pipeline.cfg.runtime.processes == 1 or pipeline.finished():
        return pipeline.run()
    return shared(pipeline.cfg)


def shared(cfg: Config) -> str:
    """Run a config in ``runtime.processes`` processes of this machine; returns the run's id.

    Each has ``runtime.threads`` threads, or its share of the cores. Raises ConfigError as the run itself would, and
    WorkerFailed for any other error of a process. The other processes are stopped then.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    processes = cfg.runtime.processes
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=GRACE,
        signals_to_handle=",".join(STOPS),
    )
    with (
        own_signals(),  # outermost: the signal is raised again only after the folder is removed
        tempfile.TemporaryDirectory(prefix="adapt-") as folder,
        quiet_agent(),
        thread_count(processes, cfg.runtime.threads),
    ):
        config, outcome = Path(folder, "config.yaml"), Path(folder, "outcome.json")
        config.write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
        try:
            elastic_launch(launch, sys.executable)("-m", "adapt.worker", str(config), "--outcome", str(outcome))
        except ChildFailedError as error:
            exit_code = error.get_first_failure()[1].exitcode
            return after_failure(read_outcome(outcome), exit_code, processes, error)
        return after_failure(read_outcome(outcome), 0, processes, None)


def read_outcome(file: Path) -> dict[str, Any]:
    """What the processes left in the file of their outcome; {} if there is none, or none that can be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def after_failure(outcome: dict[str, Any], exit_code: int, processes: int, error: Exception | None) -> str:
    """The run's id, if its rows were written, whatever became of a process afterwards; else the error is raised.

    exit_code: of the first process that failed, negative for a signal; 0 if none did. A process may abort at the
    interpreter's end, when libraries take down their threads; the run was finished then.
    """
    if run_ids := outcome.get("run_ids"):
        if exit_code:
            log.warning(
                "the run is finished; a process ended with %s after that, which changes nothing", ended_by(exit_code)
            )
        return str(run_ids[0])
    if outcome.get("refusal"):
        raise ConfigError(outcome["error"]) from error
    if "error" in outcome:
        said = f"{outcome['error']}\n{outcome.get('traceback', '')}"
    elif exit_code:
        said = f"it ended with {ended_by(exit_code)} before it could say why"
    else:
        said = "all of them ended without a result"
    raise WorkerFailed(f"one of {processes} processes failed: {said}") from error


def ended_by(exit_code: int) -> str:
    """An exit code in words: 'exit code 3', 'SIGKILL (out of memory is the usual reason)'."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
    return f"{name} (out of memory is the usual reason)" if name == "SIGKILL" else name


@contextmanager
def quiet_agent() -> Iterator[None]:
    """Within the block torch's agent logs nothing: errors are reported from the outcome file instead."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def own_signals() -> Iterator[None]:
    """Restore the signal handlers afterwards: torch's agent installs its own and leaves them in place."""
    from torch.distributed.elastic.multiprocessing import SignalException

    before = {signal.Signals[name]: signal.getsignal(signal.Signals[name]) for name in STOPS}
    stop = None
    try:
        yield
    except SignalException as error:  # by now the processes have ended and the checkpoint is written
        stop = error.sigval
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stop is not None:
            signal.raise_signal(stop)


@contextmanager
def thread_count(processes: int, threads: int | None) -> Iterator[None]:
    """Within the block, a process that starts has ``threads`` threads or, for None, its share of the cores."""
    each = threads or max(1, provenance.usable_threads(None) // processes)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(each)
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
