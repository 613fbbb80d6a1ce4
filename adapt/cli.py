"""What the command line does with one job, at the end of all jobs, and with an error."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from adapt.config import Config, ConfigError, TaskConfig
from adapt.refusals import CONF, missing_option, readable
from adapt.validate import check_parts, check_values

log = logging.getLogger(__name__)
_finished: list[tuple[Config, str]] = []  # the runs of this process, for the summary at its end
_failed: dict[str, list[str]] = {}  # what went wrong -> the overrides of each run that it stopped


def job(cfg: DictConfig) -> str | None:
    """Validate, then run (or plan) one chain. Returns its run id. A failure leaves its traceback beside the rows."""
    typed = None
    try:
        check_choices(given_overrides())
        typed = check_values(cfg)
        check_parts(typed)
        from adapt import jobs
        from adapt.grid import canonical
        from adapt.pipeline import Pipeline

        pipeline = Pipeline(typed, named_task)
        if typed.runtime.dry_run:
            from adapt.plan import describe

            print(describe(pipeline))
            return None
        started = time.monotonic()
        with jobs.running(Path(typed.runtime.root), typed.experiment or "none", canonical(given_overrides())) as note:
            note["run_id"] = run_id = pipeline.run()
    except Exception as error:
        note_failure(typed, error)
        raise
    log.info("%s finished in %.2f s", run_id, time.monotonic() - started)
    _finished.append((typed, run_id))
    return run_id


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


def check_choices(overrides: list[str]) -> None:
    """A stage given twice would silently run once, and a list of options would silently be mixed into one."""
    for override in overrides:
        group, _, value = override.lstrip("+").partition("=")
        names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if group == "pretrain" and twice:
            raise ConfigError(f"pretrain={value}: {twice[0]} is there twice; a stage can be in a chain once")
        if group != "pretrain" and value.startswith("[") and (CONF / group).is_dir():
            raise ConfigError(f"{override}: give one option; for a run with each: -m {group}={','.join(names)}")


def given_overrides() -> list[str]:
    """The job's overrides as they were typed: ``task.path=${runtime.root}/x`` is not to be resolved here."""
    return OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[return-value]


def note_failure(cfg: Config | None, error: Exception) -> None:
    """Keep the error for the final message, and the traceback being handled under an existing runtime.root."""
    from adapt import jobs
    from adapt.grid import canonical

    _failed.setdefault(readable(error), []).append(" ".join(given_overrides()))
    if cfg is None or not Path(cfg.runtime.root).exists():
        return
    with contextlib.suppress(OSError):  # a full disk cannot take the traceback, and must not hide the first error
        given = canonical(given_overrides())
        jobs.failed(Path(cfg.runtime.root), cfg.experiment or "none", given, traceback.format_exc())


def raise_quietly(returned: JobReturn) -> Any:
    """What ``JobReturn.return_value`` does, without Hydra's own line about a job that :func:`refusal` will name."""
    if returned.status != JobStatus.COMPLETED:
        raise returned._return_value
    return returned._return_value


JobReturn.return_value = JobReturn.return_value.getter(raise_quietly)  # type: ignore[attr-defined, method-assign]


def finish() -> None:
    """The summary of what this process ran."""
    if not _finished:
        return
    from adapt import results
    from analysis import tables

    cfg = _finished[-1][0]
    root = Path(cfg.runtime.root)
    table = results.load(root, cfg.experiment)
    mine = table[table["run_id"].isin([run_id for _, run_id in _finished])]
    print()
    print(tables.format_summary(mine))
    print(
        f"\n{mine['run_id'].nunique()} runs, {len(mine)} rows. Rows: {root / 'runs'}; "
        f"all of them as a table: adapt.results.load({str(root)!r})"
    )
    print(f"Freeze and draw them: make table figures STUDY={cfg.experiment}")


def refusal(error: Exception) -> str:
    """One message for the user: each thing that went wrong, once, and in a sweep the runs that it stopped."""
    several = bool(_finished) or sum(map(len, _failed.values())) > 1
    lines = []
    for message, stopped in (_failed or {readable(error): []}).items():
        lines.append(f"error: {message}")
        lines += [f"  in the run {overrides}" for overrides in stopped if several]
    return "\n".join([*lines, "(HYDRA_FULL_ERROR=1 shows the traceback)"])
