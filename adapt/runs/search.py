"""The search space of a tuning, and the trials that a seeded sampler proposes in it. Optuna's state is not stored.

The seed and the scores so far determine the next trial. A search that is started again and gets the same scores
proposes the same trials.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from adapt.config import ConfigError, suggestion
from adapt.project import options

SAMPLERS = ("tpe", "random", "grid")
RANDOM_TRIALS = 5  # before TPE uses the scores; the same for every budget, so that a larger one continues a smaller
Setting = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """What is searched and how. ``space`` maps a dotted key to {low, high, log} or {choices}."""

    space: dict[str, dict[str, Any]]
    sampler: str
    seed: int
    trials: int

    def __post_init__(self) -> None:
        if not self.space:
            raise ConfigError("space={}: must name at least one key of the config")
        for key, bounds in self.space.items():
            check_bounds(key, bounds)
        if self.sampler not in SAMPLERS:
            raise ConfigError(f"sampler={self.sampler}: {suggestion(self.sampler, SAMPLERS)}")
        if self.trials < 1:
            raise ConfigError(f"trials={self.trials}: must be 1 or more")
        if self.sampler == "grid":
            ranges = [key for key, bounds in self.space.items() if "choices" not in bounds]
            if ranges:
                raise ConfigError(f"sampler=grid: {ranges[0]} has no choices; give a list, or another sampler")
            size = math.prod(len(bounds["choices"]) for bounds in self.space.values())
            if size != self.trials:
                raise ConfigError(f"trials={self.trials}: sampler=grid has {size} settings; give trials={size}")

    def label(self) -> str:
        """The mark in the rows of its runs; equal for arms that were searched in the same way."""
        space = "; ".join(f"{key} {described(bounds)}" for key, bounds in sorted(self.space.items()))
        return f"{self.trials} trials of {self.sampler}, seed {self.seed}, over {space}"

    def ends(self) -> Iterator[Setting]:
        """The two corners of the space (first and last choices), which are checked before anything is trained."""
        for low in (True, False):
            yield {
                key: bounds["choices"][0 if low else -1] if "choices" in bounds else bounds["low" if low else "high"]
                for key, bounds in self.space.items()
            }

    def proposals(self) -> Iterator[Proposal]:
        """The trials in turn; tell each its score before asking for the next."""
        optuna = imported()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        tpe = optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=RANDOM_TRIALS)
        sampler = tpe if self.sampler == "tpe" else optuna.samplers.RandomSampler(seed=self.seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        if self.sampler == "grid":
            places = (range(len(bounds["choices"])) for bounds in self.space.values())
            for point in itertools.product(*places):
                study.enqueue_trial(dict(zip(self.space, point, strict=True)))
        for _ in range(self.trials):
            trial = study.ask()
            setting = {key: suggested(trial, key, bounds) for key, bounds in self.space.items()}
            yield Proposal(setting, study, trial)


@dataclass(frozen=True)
class Proposal:
    """A setting to try."""

    setting: Setting
    study: Any
    trial: Any

    def tell(self, score: float | None) -> None:
        """Report the trial's score, where more is better; None for a trial that failed."""
        optuna = imported()
        if score is None:
            self.study.tell(self.trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(self.trial, score)


def of_file(given: str, **changes: Any) -> Search:
    """The search in conf/tuning/<given>.yaml or in a YAML file; changes replace its sampler, seed or trials."""
    path = Path(given) if given.endswith((".yaml", ".yml")) else options.file_of("tuning", given)
    if path is None or not path.is_file():
        possible = suggestion(given, options.names("tuning"))
        raise ConfigError(f"--space {given}: no such file; {possible}, or a path that ends in .yaml")
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    keys = ("space", "sampler", "seed", "trials")
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping with the keys {', '.join(keys)}")
    for key in sorted(set(content) ^ set(keys)):
        state = "no such key" if key in content else "is missing"
        raise ConfigError(f"{path}: {key}: {state}; its keys are {', '.join(keys)}")
    return Search(**(content | {name: value for name, value in changes.items() if value is not None}))


def imported() -> Any:
    """Optuna, an optional dependency. Raises ConfigError where it is not installed."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError("adapt tune needs Optuna: pip install adapt[tuning]") from error
    return optuna


def check_bounds(key: str, bounds: Any) -> None:
    """Raise ConfigError for bounds that no value can be drawn from."""
    choices = isinstance(bounds, dict) and bounds.get("choices")
    if isinstance(bounds, dict) and set(bounds) == {"choices"} and isinstance(choices, list) and choices:
        return
    if not isinstance(bounds, dict) or not {"low", "high"} <= set(bounds) <= {"low", "high", "log"}:
        raise ConfigError(f"space.{key}={bounds}: possible are {{low, high, log}} and {{choices: [...]}}")
    low, high = bounds["low"], bounds["high"]
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
            raise ConfigError(f"space.{key}.{name}={bound}: must be a finite number")
    if low >= high:
        raise ConfigError(f"space.{key}: low={low} must be less than high={high}")
    if bounds.get("log") and low <= 0:
        raise ConfigError(f"space.{key}.low={low}: must be more than 0 where log is true")


def suggested(trial: Any, key: str, bounds: dict[str, Any]) -> Any:
    """A trial's value for a key, rounded so that an override writes it exactly."""
    if "choices" in bounds:  # by index, because a choice may be a list
        return bounds["choices"][trial.suggest_categorical(key, list(range(len(bounds["choices"]))))]
    low, high, log = bounds["low"], bounds["high"], bool(bounds.get("log"))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log)
    drawn = trial.suggest_float(key, low, high, log=log)
    return min(max(float(f"{drawn:.3g}"), low), high)


def described(bounds: dict[str, Any]) -> str:
    """Bounds in words."""
    if "choices" in bounds:
        return ", ".join(map(str, bounds["choices"]))
    return f"{bounds['low']:g} to {bounds['high']:g}{' (log)' if bounds.get('log') else ''}"
