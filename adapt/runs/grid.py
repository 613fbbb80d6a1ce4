"""The runs of a sweep, each as the overrides that Hydra gives it. Composes no run and imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from adapt.project import options
from adapt.runs.journal import Overrides

OUTSIDE = ("runtime.", "hydra.", "hydra/")  # settings of where and how a run is done; they do not tell runs apart
_SEED = re.compile(r"^\+?([\w.]+\.)?(adaptation_)?seed=")


@dataclass(frozen=True)
class Sweep:
    """The folder of a command's runs, their study, and the overrides of each run."""

    root: Path
    study: str
    points: list[tuple[str, ...]]


def sweep(words: list[str]) -> Sweep:
    """The overrides of each run of ``adapt <words>``, in the order in which Hydra starts the runs.

    words: those of the command line, such as ``experiment=<study>``; an axis among them (``seed=0,1``) replaces the
    study's axis of that key. Without any axis there is one run.
    """
    with options.composing():
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        given = parser.parse_overrides(words)
        plain = [word for word, override in zip(words, given, strict=True) if not override.is_sweep_override()]
        composed = hydra.compose("config", plain, return_hydra_config=True)
        settings = composed.hydra
        grid = dict(settings.sweeper.params or {}) if settings.mode == RunMode.MULTIRUN else {}
        overrides = parser.parse_overrides([*(f"{key}={value}" for key, value in grid.items()), *words])
        (jobs,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return Sweep(Path(composed.runtime.root), composed.experiment or "none", [_inside(job) for job in jobs])


def canonical(words: list[str]) -> tuple[str, ...]:
    """The overrides of one run in the form that ``sweep`` gives them, however they were typed."""
    parsed = OverridesParser.create().parse_overrides(words)
    return _inside(f"{one.get_key_element()}={one.get_value_element_as_str()}" for one in parsed)


def _inside(words: Iterable[str]) -> tuple[str, ...]:
    """The overrides sorted, without those that say where and how a job runs."""
    return tuple(sorted(word for word in words if not word.lstrip("+~").startswith(OUTSIDE)))


def without_seeds(overrides: Overrides) -> Overrides:
    """The overrides that a job shares with the same job under other seeds."""
    return tuple(word for word in overrides if not _SEED.match(word))
