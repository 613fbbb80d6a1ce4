"""``python -m adapt``: validate a config, run its chain, say where the rows are."""

from __future__ import annotations

import logging
import os
import sys

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from adapt.config import CONF, Config
from adapt.runs import job, summary

ConfigStore.instance().store(name="schema", node=Config)


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def run(cfg: DictConfig) -> summary.Finished | None:
    """One job: a run, or its plan."""
    return job.job(cfg)


def main() -> None:
    """The console script: Hydra's app, with every refusal as one sentence and no traceback unless asked for."""
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR") == "1"
    logging.raiseExceptions = False  # where the disk is full the log file is too, and the error itself says so
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing its own wording
    try:
        try:
            run()
        finally:
            summary.summary()  # the runs of a sweep that did finish, whatever became of the others
    except Exception as error:
        if traceback_wanted:
            raise
        sys.exit(summary.refusal(error))
    if summary.any_failed():
        sys.exit(summary.refusal(traces=traceback_wanted))


if __name__ == "__main__":
    main()
