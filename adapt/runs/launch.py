"""Start the processes of a run that several share, and tell what became of it: ``runtime.processes=N``."""

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

from omegaconf import OmegaConf

from adapt.config import Config, ConfigError
from adapt.runs.pipeline import Pipeline
from adapt.store import provenance

STOPS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")  # passed on to the processes

GRACE = 300  # seconds that a stopped process has for the step it is in and its checkpoint; torch's own 30 are few


class WorkerFailed(RuntimeError):
    """A process of the run raised an error: says which, with that process's traceback."""


def run(pipeline: Pipeline) -> str:
    """Run a chain; returns the run's id. What is finished is looked up here, whoever shared it."""
    if pipeline.cfg.runtime.processes == 1 or pipeline.finished():
        return pipeline.run()
    return shared(pipeline.cfg)


def shared(cfg: Config) -> str:
    """Run a config in ``runtime.processes`` processes of this machine; returns the run's id.

    Each has ``runtime.threads`` threads, or its part of the cores. Raises ConfigError as the run itself would, and
    WorkerFailed for any other error of a process; the others are stopped then.
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
        own_signals(),  # around the folder, which a process that dies of its signal would leave behind
        tempfile.TemporaryDirectory(prefix="adapt-") as folder,
        quiet_agent(),
        thread_count(processes, cfg.runtime.threads),
    ):
        config, outcome = Path(folder, "config.yaml"), Path(folder, "outcome.json")
        config.write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
        try:
            elastic_launch(launch, sys.executable)("-m", "adapt.worker", str(config), "--outcome", str(outcome))
        except ChildFailedError as error:
            found = json.loads(outcome.read_text()) if outcome.exists() else {}
            if found.get("refusal"):
                raise ConfigError(found["error"]) from error
            said = (
                f"{found['error']}\n{found['traceback']}"
                if found
                else f"it was killed ({error.get_first_failure()[1]})"
            )
            raise WorkerFailed(f"one of {processes} processes failed: {said}") from error
        (run_id,) = json.loads(outcome.read_text())["run_ids"]
        return str(run_id)


@contextmanager
def quiet_agent() -> Iterator[None]:
    """Within the block, in which this process only waits, torch's agent does not log what a process's outcome says."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def own_signals() -> Iterator[None]:
    """Give the signals back to who had them: torch's agent takes them, to stop its processes, and keeps them."""
    from torch.distributed.elastic.multiprocessing import SignalException

    before = {signal.Signals[name]: signal.getsignal(signal.Signals[name]) for name in STOPS}
    stop = None
    try:
        yield
    except SignalException as error:  # the processes have ended, a training's checkpoint is written
        stop = error.sigval
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stop is not None:
            signal.raise_signal(stop)


@contextmanager
def thread_count(processes: int, threads: int | None) -> Iterator[None]:
    """Within the block, processes that start divide the cores, or have as many threads as they are told."""
    each = threads or max(1, provenance.usable_threads(None) // processes)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(each)
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
