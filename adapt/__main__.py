"""``python -m adapt``: validate a config, run its chain, say where the rows are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from adapt import cli
from adapt.config import Config

ConfigStore.instance().store(name="schema", node=Config)


@hydra.main(version_base="1.3", config_path=str(Path(__file__).parents[1] / "conf"), config_name="config")
def run(cfg: DictConfig) -> str | None:
    """One job: a run, or its plan."""
    return cli.job(cfg)


def main() -> None:
    """The console script: Hydra's app, with every refusal as one sentence and no traceback unless asked for."""
    traceback_wanted = os.environ.setdefault("HYDRA_FULL_ERROR", "0") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing its own wording
    try:
        run()
        cli.finish()
    except Exception as error:
        if traceback_wanted:
            raise
        sys.exit(cli.refusal(error))


if __name__ == "__main__":
    main()
