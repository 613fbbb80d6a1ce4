"""What a run and its stages are called in rows: short names, splits, and the settings that decide the numbers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapt.chain.finetuning import is_whole, settings_read
from adapt.chain.stage import Stage
from adapt.chain.text import sources_read
from adapt.config import PUBLISHED, Config, TaskConfig
from adapt.data.masking.strategies import SELECTIVE
from adapt.store.entries import Entry


def science(cfg: Config) -> dict[str, Any]:
    """The settings that decide the numbers: all except where and how the run is done and the parts that it lacks."""
    config = asdict(cfg)
    del config["model"]["modules"]  # a method that reads them repeats them among its own settings
    config["finetune"]["head_learning_rate"] = settings_read(cfg).head_learning_rate
    for stage in config["pretrain"].values():
        if stage["masking"]["strategy"] != SELECTIVE:  # so that rows from before this setting are in the same cells
            del stage["masking"]["importance_threshold"]
    if cfg.evaluate.samples is None:  # for the same reason
        del config["evaluate"]["samples"]
    for task in (config["task"], config["other_task"]):  # likewise
        for name in PUBLISHED:
            if task[name] is None:
                del task[name]
    unused = {"runtime", "experiment", "budget", "allow_unknown"}
    unused |= {"adaptation_seed"}  # each pretraining stage repeats that seed
    unused |= {"corpus", "general", "other_task"} - sources_read(cfg)
    unused |= {name for name in ("peft", "pretrain_peft") if is_whole(getattr(cfg, name))}
    if not cfg.pretrain:
        unused |= {"pretrain_adversary", "pretrain_peft", "vocabulary"}
    return {key: value for key, value in config.items() if key not in unused and value is not None}


def of_stages(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of several stages, each once: the run's task is read whole and cut, and both count the unlabelled."""
    rows = [row for stage in stages for row in labelled(stage)]
    return list({json.dumps(row): row for row in rows}.values())


def labelled(stage: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, their split prefixed with the stage's name: a run may have several stages of one kind."""
    return [{**row, "split": f"{stage['prefix']}{row['split']}"} for row in stage["rows"]]


def prefix(stage: Stage) -> str:
    """What goes before the split of the stage's rows: ``dapt/``."""
    name = stage.label if stage.prefix is None else stage.prefix
    return f"{name}/" if name else ""


def noted(entry: Entry) -> dict[str, Any]:
    """An entry's rows, its number of processes, whether it is dirty, and its state (adapt.store.code).

    Dirty: no commit held its sources when it was built.
    """
    made = entry.manifest["provenance"]
    known = {"dirty": made["dirty"], "code": made.get("code"), "processes": made.get("processes", 1)}
    return {"rows": entry.manifest["rows"], **known}


def pretrain_label(cfg: Config, stages: list[Stage]) -> str | None:
    """The steps of the run's adaptation, and the adversary of its pretraining where it has one: ``dapt+tapt/alum``."""
    under = "" if not cfg.pretrain or cfg.pretrain_adversary.name == "none" else f"/{cfg.pretrain_adversary.name}"
    return "+".join(stage.step for stage in adaptation(stages)) + under or None


def adaptation(stages: list[Stage]) -> list[Stage]:
    """The stages of a chain that adapt the language model from which fine-tuning starts."""
    return [stage for stage in stages if stage.role == "adapts"]


def task_label(cfg: TaskConfig) -> str:
    """A task's short name; a task that is read from the user's own folder also has the folder's name."""
    return f"{cfg.name}:{Path(cfg.path).name}" if cfg.path and cfg.name == cfg.format else cfg.name
