"""What the command line does with one job, at the end of all jobs, and with an error."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from adapt.config import Config, ConfigError, TaskConfig
from adapt.refusals import missing_option, readable
from adapt.validate import check_parts, check_values

log = logging.getLogger(__name__)
_finished: list[tuple[Config, str]] = []  # the runs of this process, for the summary at its end
_failed: list[str] = []


def job(cfg: DictConfig) -> str | None:
    """Validate, then run (or plan) one chain. Returns its run id. A failure leaves its traceback beside the rows."""
    check_choices()
    typed = check_values(cfg)
    try:
        check_parts(typed)
        from adapt.pipeline import Pipeline

        pipeline = Pipeline(typed, named_task)
        if typed.runtime.dry_run:
            from adapt.plan import describe

            print(describe(pipeline))
            return None
        started = time.monotonic()
        run_id = pipeline.run()
    except Exception as error:
        note_failure(typed, error)
        raise
    log.info("%s finished in %.1f s", run_id, time.monotonic() - started)
    _finished.append((typed, run_id))
    return run_id


def named_task(name: str) -> TaskConfig:
    """The config of another task than the run's own, composed from conf/task/<name>.yaml."""
    composed = hydra.compose("config", overrides=[f"task={name}"])
    return OmegaConf.to_object(composed.task)  # type: ignore[return-value]


def check_choices() -> None:
    """A pretraining stage given twice would silently run once."""
    for override in HydraConfig.get().overrides.task:
        group, _, value = override.partition("=")
        if group == "pretrain":
            names = [name.strip() for name in value.strip("[]").split(",") if name.strip()]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ConfigError(f"pretrain={value}: {twice[0]} is there twice; a stage can be in a chain once")


def note_failure(cfg: Config, error: Exception) -> None:
    """Keep the error for the final message, and the traceback being handled under an existing runtime.root."""
    from adapt import results
    from adapt.pipeline import science
    from adapt.store import digest

    _failed.append(f"{label(cfg)}: {type(error).__name__}: {error}")
    config = science(cfg)
    if Path(cfg.runtime.root).exists():
        results.write_failure(
            Path(cfg.runtime.root), digest(config)[:32], cfg.experiment, config, traceback.format_exc()
        )


def label(cfg: Config) -> str:
    """One line that tells a failed run from the others of its sweep."""
    chain = "+".join(cfg.pretrain) or "none"
    return (
        f"model={cfg.model.name} task={cfg.task.name} pretrain={chain} adversary={cfg.adversary.name} seed={cfg.seed}"
    )


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
    """One message for the user: what was given, what is possible."""
    others = _failed[:-1] if isinstance(error, ConfigError) else _failed
    lines = [f"error: {readable(error)}", *(f"also failed: {line}" for line in others if str(error) not in line)]
    return "\n".join([*lines, "(HYDRA_FULL_ERROR=1 shows the traceback)"])
