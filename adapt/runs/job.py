"""One job of the command line: check its config, run or plan its chain, record what became of it."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from adapt.checks.run import check_parts, check_values
from adapt.config import Config, ConfigError, TaskConfig
from adapt.project import options
from adapt.runs.errors import missing_option, readable
from adapt.runs.summary import Finished, JobFailed, note

log = logging.getLogger(__name__)


def job(cfg: DictConfig) -> Finished | None:
    """Validate, then run (or plan) one chain. A failure leaves its traceback beside the rows and raises JobFailed."""
    typed = None
    try:
        check_launcher()
        check_environment()
        check_choices(given_overrides())
        typed = check_values(cfg)
        check_parts(typed)
        from adapt.runs import journal, launch, progress
        from adapt.runs.grid import canonical
        from adapt.runs.pipeline import Pipeline

        pipeline = Pipeline(typed, named_task)
        if typed.runtime.dry_run:
            from adapt.runs.plan import describe

            print(describe(pipeline))
            return None
        this = canonical(given_overrides())
        if (place := progress.place(this)) is not None:
            log.info(place)
        started = time.monotonic()
        with journal.running(Path(typed.runtime.root), typed.experiment or "none", this) as record:
            record["run_id"] = run_id = launch.run(pipeline)
        progress.finished(this, time.monotonic() - started)
    except Exception as error:
        keep_traceback(typed)
        failed = JobFailed(" ".join(given_overrides()), readable(error), traceback.format_exc())
        note(failed)
        raise failed from error
    log.info("%s finished in %.2f s", run_id, time.monotonic() - started)
    finished = Finished(" ".join(given_overrides()), typed.runtime.root, typed.experiment, run_id)
    note(finished)
    return finished


def named_task(name: str) -> TaskConfig:
    """The config of another task than the run's own, composed from conf/task/<name>.yaml."""
    try:
        composed = hydra.compose("config", overrides=[f"task={name}"])
    except MissingConfigException as error:
        raise ConfigError(f"corpus.exclude: {missing_option(f'task/{name}')}") from error
    task: TaskConfig = OmegaConf.to_object(composed.task)  # type: ignore[assignment]
    if task.format != "pydoc" and task.path is None:
        raise ConfigError(f"corpus.exclude: task={name} has no path of its own; possible only as the run's own task")
    return task


def check_launcher() -> None:
    """Hydra would silently ignore a launcher without a sweep."""
    launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
    if launcher != "basic" and HydraConfig.get().mode != RunMode.MULTIRUN:
        raise ConfigError(f"hydra/launcher={launcher}: it launches the runs of a sweep; add -m, for a single run too")


def check_environment() -> None:
    """A config from someone else must not allow packages, nor change where Python looks for them."""
    variables = sorted(HydraConfig.get().job.env_set)
    if variables:
        raise ConfigError(f"hydra.job.env_set.{variables[0]}: a config may set no variable; set it in the shell")


def check_choices(overrides: list[str]) -> None:
    """Refuse a stage that is given twice, which Hydra would run once, and a list of options, which it would merge."""
    for override in overrides:
        group, _, value = override.lstrip("+").partition("=")
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if group == "pretrain" and twice:
            raise ConfigError(f"pretrain={value}: {twice[0]} is there twice; a stage can be in a chain once")
        if group != "pretrain" and value.startswith("[") and options.is_group(group):
            raise ConfigError(f"{override}: give one option; for a run with each: -m {group}={','.join(names)}")


def given_overrides() -> list[str]:
    """The job's overrides as they were typed, with ``task.path=${runtime.root}/x`` left unresolved."""
    return OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[return-value]


def keep_traceback(cfg: Config | None) -> None:
    """Store the traceback of the error being handled under runtime.root, if that folder exists."""
    from adapt.runs import journal
    from adapt.runs.grid import canonical

    if cfg is None or not Path(cfg.runtime.root).exists():
        return
    with contextlib.suppress(OSError):  # on a full disk this fails too; it must not hide the first error
        given = canonical(given_overrides())
        journal.failed(Path(cfg.runtime.root), cfg.experiment or "none", given, traceback.format_exc())
