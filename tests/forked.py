"""The processes of a run that several share, forked from the test's own: a fresh one imports for seconds.

Torch's agent, its rendezvous and its signals are those of the command; runs/test_launch.py starts fresh ones too.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from torch.distributed.launcher import api

from adapt import __main__, worker
from adapt.runs.launch import STOPS

in_fresh_processes = api.elastic_launch


def run_on_two(configs: list[Path]) -> None:
    """Run the configs as ``torchrun --nproc-per-node=2 -m adapt.worker`` does."""
    launch = api.LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", local_addr="localhost", max_restarts=0,
    )  # fmt: skip
    launching(launch, sys.executable)("-m", "adapt.worker", *map(str, configs))


def launching(launch: api.LaunchConfig, entrypoint: str) -> Callable[..., Any]:
    """In the place of torch's ``elastic_launch`` of ``python -m adapt.worker``."""
    launch.start_method = "fork"
    assert entrypoint == sys.executable

    def start(*arguments: str) -> Any:
        gc.freeze()  # what was imported is no garbage: each training of a child would search it
        assert arguments[:2] == ("-m", "adapt.worker")
        return in_fresh_processes(launch, work)(*arguments[2:])

    return start


def work(*arguments: str) -> None:
    """What a process does; the agent's handlers of signals and the command's Hydra are not its own."""
    default_signals()
    GlobalHydra.instance().clear()
    worker.main(list(arguments))


def default_signals() -> None:
    for name in STOPS:
        signal.signal(signal.Signals[name], signal.SIG_DFL)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the test, ``runtime.processes=N`` forks its processes."""
    monkeypatch.setattr(api, "elastic_launch", launching)


def command(*arguments: str) -> int:
    """Run ``adapt`` in a forked process; returns its number."""
    pid = os.fork()
    if pid == 0:
        default_signals()
        GlobalHydra.instance().clear()
        sys.argv = ["adapt", *arguments]
        status = 1
        try:
            __main__.main()
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    return pid


def children(pid: int) -> list[int]:
    """The processes that the process ``pid`` has started and that run."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in listed for child in path.read_text().split() if runs(int(child))]


def runs(pid: int) -> bool:
    """Whether the process has not ended: what nobody has waited for has no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
