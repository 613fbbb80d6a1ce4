"""Tune each arm of a study on dev with equal budgets: Optuna proposes the trials, which run like any other run.

``adapt tune experiment=quickstart seed=0,1 --trials 8``, with the overrides of a sweep. The runs of a sweep that differ
only in seed are one arm. A trial is one setting of an arm, run with each of these seeds; its score is the mean of the
task's metric on dev. Test is never read. Trials are rows of the study, and what they train is in the store. If the
command is stopped and started again, it proposes the same trials, looks up those that are done, and goes on.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tqdm import tqdm

from adapt import results
from adapt.checks.run import check_parts, check_values
from adapt.config import Config, ConfigError
from adapt.project import options
from adapt.runs import grid, journal, search
from adapt.runs.errors import readable
from adapt.runs.grid import without_seeds
from adapt.runs.job import check_choices, named_task
from adapt.runs.journal import Overrides
from adapt.runs.search import Search, Setting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """A setting that was tried: its runs, one per seed, and their mean score on dev, or why it failed."""

    setting: Setting
    run_ids: list[str]
    dev: float | None
    failure: str = ""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="adapt tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="+", help="as for adapt: experiment=<study> and what is swept")
    spaces = ", ".join(options.names("tuning"))
    parser.add_argument(
        "--space", default="learning_rate", help=f"a file of conf/tuning ({spaces}; default: learning_rate), or a path"
    )
    parser.add_argument("--trials", type=int, help="per arm, including failed ones (default: the file's)")
    parser.add_argument("--sampler", help=f"{', '.join(search.SAMPLERS)} (default: the file's)")
    parser.add_argument("--sampler-seed", type=int, help="seed of the sampler (default: the file's)")
    args = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    ConfigStore.instance().store(name="schema", node=Config)
    try:
        wanted = search.of_file(args.space, trials=args.trials, sampler=args.sampler, seed=args.sampler_seed)
        search.imported()
        print(describe(tune(args.overrides, wanted)))
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        sys.exit(f"error: {readable(error)}\n(HYDRA_FULL_ERROR=1 shows the traceback)")


def tune(words: list[str], wanted: Search) -> dict[Overrides, list[Trial]]:
    """The trials of each arm of a sweep. Once all are done, their rows are marked in the column ``tuning``."""
    sweep = grid.sweep(words)
    arms: dict[Overrides, list[Overrides]] = {}
    for point in sweep.points:
        arms.setdefault(without_seeds(point), []).append(point)
    tried: dict[Overrides, list[Trial]] = {}
    with options.composing():
        parsed = OverridesParser.create().parse_overrides(words)
        where = [word for word, one in zip(words, parsed, strict=True) if one.key_or_group.startswith("runtime.")]
        configs = [check(seeds[0], where, wanted) for seeds in arms.values()]
        total = wanted.trials * len(sweep.points)
        with tqdm(total=total, unit="run", desc="tuning", disable=not configs[0].runtime.progress) as bar:
            for arm, seeds in arms.items():
                tried[arm] = []
                for proposal in wanted.proposals():
                    trial = run_trial(seeds, where, proposal.setting, bar)
                    proposal.tell(trial.dev)
                    tried[arm].append(trial)
    finished = [
        run_id for trials in tried.values() for trial in trials if not trial.failure for run_id in trial.run_ids
    ]
    if sweep.study != "none":
        results.mark(sweep.root, sweep.study, finished, wanted.label())
    return tried


def check(point: Overrides, where: list[str], wanted: Search) -> Config:
    """An arm's config. Raises ConfigError unless both ends of the space are possible in it."""
    check_choices(list(point))
    swept = {word.lstrip("+~").partition("=")[0] for word in point} & set(wanted.space)
    if swept:
        raise ConfigError(f"{min(swept)} is both given on the command line (or swept by the study) and in the space")
    for setting in wanted.ends():
        cfg = composed([*point, *where], setting)
    check_parts(cfg)
    return cfg


def composed(words: list[str], setting: Setting) -> Config:
    """The config of a run with the setting. Raises ConfigError where a value would not arrive as it was given."""
    cfg = hydra.compose("config", [*words, *overrides_of(setting)])
    for key, value in setting.items():
        given: Any = OmegaConf.select(cfg, key)
        if given != value:  # OmegaConf may convert the value to the type of its key
            raise ConfigError(f"space.{key}: {value!r} becomes {given!r} in the config")
    return check_values(cfg)


def overrides_of(setting: Setting) -> list[str]:
    """A setting as overrides; a number is written as its repr, which reads back as the same number."""
    return [f"{key}={'null' if value is None else value}" for key, value in setting.items()]


def run_trial(seeds: list[Overrides], where: list[str], setting: Setting, bar: tqdm) -> Trial:
    """Run a setting with each seed, or look it up. A loss that is not finite fails the trial; any other error rises."""
    from adapt.training.loop import NonFiniteLoss

    run_ids, scores = [], []
    for done, point in enumerate(seeds):
        cfg = composed([*point, *where], setting)
        try:
            run_ids.append(run([*point, *overrides_of(setting)], cfg))
        except NonFiniteLoss as error:
            bar.update(len(seeds) - done)
            log.warning("a trial failed, and counts as one: %s: %s", " ".join(overrides_of(setting)), error)
            return Trial(setting, run_ids, None, str(error))
        scores.append(results.score(cfg.runtime.root, run_ids[-1], cfg.task.metric, split="dev"))
        bar.update()
        bar.set_postfix_str(f"{' '.join(overrides_of(setting))}: {scores[-1]:.3f}")
    return Trial(setting, run_ids, statistics.fmean(scores))


def run(words: list[str], cfg: Config) -> str:
    """One run, with a record of its job as the command line writes it; a failure leaves its traceback there."""
    from adapt.runs import launch
    from adapt.runs.pipeline import Pipeline

    root, study, given = Path(cfg.runtime.root), cfg.experiment or "none", grid.canonical(words)
    try:
        with journal.running(root, study, given) as note:
            note["run_id"] = launch.run(Pipeline(cfg, named_task))
    except Exception:
        journal.failed(root, study, given, traceback.format_exc())
        raise
    return str(note["run_id"])


def describe(tried: dict[Overrides, list[Trial]]) -> str:
    """One line per arm: its trials, its best setting (among equals the smallest), and that setting's score on dev."""
    common = set.intersection(*map(set, tried))
    lines = [["arm", "trials", "failed", "best setting", "dev"]]
    for arm, trials in tried.items():
        name = " ".join(word for word in arm if word not in common) or " ".join(arm)
        finished = [(-trial.dev, *trial.setting.values()) for trial in trials if trial.dev is not None]
        best = min(finished, default=None)
        setting = dict(zip(trials[0].setting, best[1:], strict=True)) if best else {}
        result = [" ".join(overrides_of(setting)), f"{-best[0]:.3f}"] if best else ["none finished", ""]
        lines.append([name, str(len(trials)), str(len(trials) - len(finished)), *result])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(shown)


if __name__ == "__main__":
    main()
