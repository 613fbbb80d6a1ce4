"""One of several processes that share runs: ``torchrun --nproc-per-node=2 -m adapt.worker <config.yaml> ...``.

Each config is the resolved config of a run: ``adapt <overrides> --cfg job --resolve > config.yaml``. With
``runtime.processes=N`` the command ``adapt`` writes it and starts N workers itself (adapt/runs/launch.py). Call
torchrun by hand only for several machines, which must share one ``runtime.root``. Workers read no overrides.

The leader (rank 0) runs the chains. The other processes wait, and only join in stages that train.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import distributed
from yaml import YAMLError

from adapt.chain.stage import Stage
from adapt.checks.run import check_parts, check_values
from adapt.config import Config, ConfigError, RuntimeConfig, first_line
from adapt.project import options
from adapt.runs import job
from adapt.runs.pipeline import Pipeline, prepare_process
from adapt.training import processes

PATIENCE = timedelta(days=30)  # the others wait while the leader tokenises a corpus


def main(arguments: list[str] | None = None) -> None:
    """Run the chains with the other processes; writes the runs' ids, or the first error of any, to --outcome."""
    parser = argparse.ArgumentParser(
        prog="python -m adapt.worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", type=Path, nargs="+", help="the resolved config of a run; several are run in turn")
    parser.add_argument("--outcome", type=Path, help="a file for the runs' ids, or the error, as JSON")
    args = parser.parse_args(arguments)
    die_with_the_parent()
    try:
        run_ids = work([read_config(path) for path in args.configs])
        if run_ids:
            note(args.outcome, {"run_ids": run_ids})
    except Exception as error:
        refusal = isinstance(error, ConfigError)
        note(args.outcome, {"error": str(error), "refusal": refusal, "traceback": traceback.format_exc()})
        if args.outcome is None:
            raise
        sys.exit(1)  # the reader of the outcome shows the error once, not once per process
    finally:  # only after note: the others fail when the group goes, and that must not come first
        if distributed.is_initialized():
            distributed.destroy_process_group()


def read_config(path: Path) -> Config:
    """The config of a file. Raises ConfigError for what the command ``adapt`` would refuse."""
    ConfigStore.instance().store(name="schema", node=Config)
    try:
        given = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path}: cannot be read as the resolved config of a run: {first_line(error)}") from error
    if not isinstance(given, DictConfig) or OmegaConf.is_missing(given.runtime, "root"):
        raise ConfigError(f"{path}: is not the resolved config of a run, a mapping with runtime, task and the others")
    cfg = check_values(given)
    check_parts(cfg)
    return cfg


def work(configs: list[Config]) -> list[str]:
    """The runs' ids in the leader, an empty list in the others."""
    join(configs[0].runtime)
    for cfg in configs:
        cfg.runtime.processes = distributed.get_world_size()  # for the rows: the number that torchrun started
    if distributed.get_rank() > 0:
        follow()
        return []
    with options.composing():
        run_ids = [Pipeline(cfg, job.named_task, call=call_all).run() for cfg in configs]
    processes.from_leader(None)
    return run_ids


def join(runtime: RuntimeConfig) -> None:
    """Join the group that torchrun describes in the environment, on this process's own device."""
    gpus = runtime.device != "cpu" and torch.accelerator.is_available()
    if gpus:
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]))
    prepare_process(runtime)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)


def call_all(stage: Stage, inputs: dict[str, Path], folder: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """How the leader builds a stage: with all processes if it trains, else by itself."""
    if not stage.trains:
        return stage.call(inputs, folder, runtime)
    processes.from_leader((replace(stage, inputs={}), inputs, folder, replace(runtime, progress=False, trackers=[])))
    with processes.together():
        return stage.call(inputs, folder, runtime)


def follow() -> None:
    """What every other process does: join in the stages that the leader announces, until there are no more."""
    while (given := processes.from_leader()) is not None:
        stage, inputs, folder, runtime = given
        with processes.together():
            stage.call(inputs, folder, runtime)


def note(outcome: Path | None, content: dict[str, Any]) -> None:
    """Write the outcome whole, unless another process has written one: the first error counts."""
    if outcome is not None:
        own = outcome.with_name(f"{outcome.name}.{os.getpid()}")
        own.write_text(json.dumps(content), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(own, outcome)  # fails if it exists; a rename would replace it
        own.unlink()


def die_with_the_parent() -> None:
    """End this process when its parent ends, even by kill -9: otherwise nobody would wait for it or stop it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
