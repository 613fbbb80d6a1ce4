"""Refuse a config that cannot run before anything is trained, in one sentence that says what is possible."""

from __future__ import annotations

import re

from omegaconf import DictConfig, OmegaConf

from adapt.chain.text import sources_read
from adapt.checks.evaluation import check_attack, check_domains, check_text_attack
from adapt.checks.peft import check_binding, check_peft
from adapt.checks.pretraining import check_pretraining
from adapt.checks.targets import check_binds, check_needs
from adapt.checks.tasks import check_kind
from adapt.checks.values import check_single_values, nodes, refuse_unknown_keys
from adapt.config import Config, ConfigError, OptimizerConfig, suggestion

CONFIGURED = {"corpus", "general", "other_task"}  # text sources other than the run's task
STUDY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # no .. and no absolute path


def check_values(cfg: DictConfig) -> Config:
    """The config as dataclasses. Raises ConfigError for a missing or impossible value. Imports no torch."""
    refuse_unknown_keys(cfg)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]} has no value; set it on the command line: {missing[0]}=...")
    typed: Config = OmegaConf.to_object(cfg)  # type: ignore[assignment]
    check_single_values(cfg)
    for key, node in nodes(cfg):
        if OmegaConf.get_type(node) is OptimizerConfig and len(node.betas) != 2:
            raise ConfigError(f"{key}.betas={list(node.betas)}: must be two numbers, AdamW's beta_1 and beta_2")
    if typed.runtime.shard and typed.runtime.processes == 1:
        raise ConfigError("runtime.shard=true: there is nothing to share; set runtime.processes to 2 or more")
    if typed.experiment is not None and not STUDY.fullmatch(typed.experiment):
        raise ConfigError(
            f"experiment={typed.experiment}: names a folder under runtime.root; possible are letters, "
            "digits, . _ and -, and / between two of them"
        )
    if typed.evaluate.attack is not None:
        check_attack(typed.evaluate.attack)
    check_kind(typed)
    check_text_attack(typed)
    check_pretraining(typed)
    check_domains(typed)
    check_peft(typed)
    parts = {"task": typed.task, **{name: getattr(typed, name) for name in sorted(CONFIGURED & sources_read(typed))}}
    needing = {key: part for key, part in parts.items() if part.format != "pydoc"}
    needing |= {"model": typed.model} if typed.model.format == "hf" else {}
    for key, part in needing.items():
        if part.path is None:
            raise ConfigError(f"{key}.path has no value; {key}={part.name} needs one: {key}.path=<where it is>")
    if typed.model.format == "tfidf":
        if typed.pretrain or typed.adversary.name != "none":
            raise ConfigError(
                "model=tfidf has no weights to pretrain or to perturb; use it with pretrain=[] adversary=none"
            )
    elif typed.finetune.method == "linear_probe" and typed.adversary.name != "none":
        raise ConfigError(
            f"finetune=linear_probe trains without gradients; "
            f"adversary={typed.adversary.name} is possible with finetune=full"
        )
    return typed


def check_parts(cfg: Config) -> None:
    """Refuse an adversary, PEFT method, tracker, task or corpus that is missing or unfit. Imports what they need."""
    for key, adversary in {"adversary": cfg.adversary, "pretrain_adversary": cfg.pretrain_adversary}.items():
        check_binds(f"{key}.method", adversary.method)
        check_needs(key, adversary)
        if adversary.kept is not None:
            check_binds(f"{key}.kept.method", adversary.kept.method)
    for key, peft in {"peft": cfg.peft, "pretrain_peft": cfg.pretrain_peft}.items():
        check_binding(f"{key}.method", peft.method)
    if cfg.runtime.trackers:
        check_trackers(cfg.runtime.trackers)
    from adapt.data import corpora, tasks

    tasks.check_task(cfg.task)
    read = sources_read(cfg)
    for name in ("corpus", "general"):
        if name in read:
            corpora.check_corpus(getattr(cfg, name), name)
    if "other_task" in read:
        tasks.check_task(cfg.other_task)


def check_trackers(names: list[str]) -> None:
    """Refuse trackers whose package is missing; accelerate would silently leave them out."""
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    known, installed = [str(name) for name in LoggerType], [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in known:
            raise ConfigError(f"runtime.trackers={name}: no such tracker; {suggestion(name, known)}")
        if name not in (*installed, "all"):
            raise ConfigError(f"runtime.trackers={name}: its package is not installed; pip install {name}")
