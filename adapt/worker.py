"""One process of runs that several share: ``torchrun --nproc-per-node=2 -m adapt.worker <config.yaml> ...``.

A config is a run's own, resolved: ``adapt <overrides> --cfg job --resolve > config.yaml``. With
``runtime.processes=N`` the command writes it and starts N of these itself (adapt/runs/launch.py); torchrun by hand is
for several machines, which must see one ``runtime.root``. Hydra composes once, before: no worker has a command line.

The leader (rank 0) runs the chains. At a stage that trains it calls the others, which wait for that and do no more.
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
from torch import distributed

from adapt.chain.stage import Stage
from adapt.checks.run import check_parts, check_values
from adapt.config import Config, ConfigError, RuntimeConfig
from adapt.project import options
from adapt.runs import job
from adapt.runs.pipeline import Pipeline, prepare_process
from adapt.training import processes

PATIENCE = timedelta(days=30)  # a process waits as long as it takes another to tokenise a corpus


def main(arguments: list[str] | None = None) -> None:
    """Run the chains with the other processes; ``--outcome`` says the runs' ids, or the first error of any process."""
    parser = argparse.ArgumentParser(
        prog="python -m adapt.worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", type=Path, nargs="+", help="a run's resolved config; several are run in turn")
    parser.add_argument("--outcome", type=Path, help="where to write what became of them, as JSON")
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
        sys.exit(1)  # whoever reads the outcome shows it once, and not as often as there are processes
    finally:  # only now: the other processes see it, and would note that as the first error
        if distributed.is_initialized():
            distributed.destroy_process_group()


def read_config(path: Path) -> Config:
    """The config, refused where the command would refuse it."""
    ConfigStore.instance().store(name="schema", node=Config)
    given = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load(path))
    assert isinstance(given, DictConfig)
    cfg = check_values(given)
    check_parts(cfg)
    return cfg


def work(configs: list[Config]) -> list[str]:
    """The runs' ids from the leader, none from the others."""
    join(configs[0].runtime)
    for cfg in configs:
        cfg.runtime.processes = distributed.get_world_size()  # what the rows say, whatever torchrun was told
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
    """What the leader does with a stage: one that trains is done by all processes."""
    if not stage.trains:
        return stage.call(inputs, folder, runtime)
    processes.from_leader((replace(stage, inputs={}), inputs, folder, replace(runtime, progress=False, trackers=[])))
    with processes.together():
        return stage.call(inputs, folder, runtime)


def follow() -> None:
    """What every other process does: the stages that the leader announces, until it has no more."""
    while (given := processes.from_leader()) is not None:
        stage, inputs, folder, runtime = given
        with processes.together():
            stage.call(inputs, folder, runtime)


def note(outcome: Path | None, content: dict[str, Any]) -> None:
    """Write what became of the run, unless an error of another process stands there already: it came first."""
    if outcome is not None:
        with contextlib.suppress(FileExistsError), outcome.open("x", encoding="utf-8") as stream:
            json.dump(content, stream)


def die_with_the_parent() -> None:
    """End this process when the one that started it ends, even by kill -9: nobody would wait for it, or stop it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
