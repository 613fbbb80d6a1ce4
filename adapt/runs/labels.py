"""What a run and its stages are called in rows: short names, splits, and the settings that decide the numbers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from adapt.chain.finetuning import is_whole, settings_read
from adapt.chain.text import sources_read
from adapt.config import Config, TaskConfig
from adapt.data.masking.strategies import SELECTIVE
from adapt.store.entries import Entry


def science(cfg: Config) -> dict[str, Any]:
    """The settings that decide the numbers: all but where and how it runs, and those of parts that the run lacks."""
    config = asdict(cfg)
    del config["model"]["modules"]  # a method that reads them has them as its own
    config["finetune"]["head_learning_rate"] = settings_read(cfg).head_learning_rate
    for stage in config["pretrain"].values():
        if stage["masking"]["strategy"] != SELECTIVE:  # rows that are older than the setting are of the same cells
            del stage["masking"]["importance_threshold"]
    if cfg.evaluate.samples is None:  # likewise
        del config["evaluate"]["samples"]
    unused = {"runtime", "experiment", "budget", "adaptation_seed"}  # each pretraining stage has the seed as its own
    unused |= {"corpus", "general", "other_task"} - sources_read(cfg)
    unused |= {name for name in ("peft", "pretrain_peft") if is_whole(getattr(cfg, name))}
    if not cfg.pretrain:
        unused |= {"pretrain_adversary", "pretrain_peft", "vocabulary"}
    return {key: value for key, value in config.items() if key not in unused}


def labelled(stage: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows under their stage's own name, unless it is the run's fine-tuning: a run may have several stages."""
    if stage["label"] in ("finetune", "linear_probe", "tfidf"):
        return stage["rows"]
    return [{**row, "split": f"{stage['label']}/{row['split']}"} for row in stage["rows"]]


def picked(entry: Entry) -> dict[str, Any]:
    """An entry's measurements, its processes, and whether the sources that made it differed from their commit."""
    made = entry.manifest["provenance"]
    return {"rows": entry.manifest["rows"], "dirty": made["dirty"], "processes": made.get("processes", 1)}


def pretrain_label(cfg: Config) -> str | None:
    """The chain's stages, and the adversary that they trained under where there was one: ``dapt+tapt/alum``.

    A stage whose selection was made a control on the command line says so; the controls' own files are called rand_*.
    """
    under = "" if cfg.pretrain_adversary.name == "none" else f"/{cfg.pretrain_adversary.name}"
    controls = {name for name, stage in cfg.pretrain.items() if stage.selection and stage.selection.control}
    names = [name + "_control" * (name in controls and not name.startswith("rand_")) for name in cfg.pretrain]
    return "+".join(names) + under if cfg.pretrain else None


def task_label(cfg: TaskConfig) -> str:
    """A task's short name; one that is given by its folder is called after it."""
    return f"{cfg.name}:{Path(cfg.path).name}" if cfg.path and cfg.name == cfg.format else cfg.name
