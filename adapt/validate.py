"""Refuse a config that cannot run, before the first second of training, in one sentence that says what is possible."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from adapt.config import AttackConfig, Config, ConfigError, OptimizerConfig, suggestion
from adapt.data.strategies import STRATEGIES
from adapt.signatures import check_binds, check_needs
from adapt.text_attacks.names import RECIPES
from adapt.text_chain import sources_read
from adapt.validate_kind import check_kind
from adapt.validate_peft import check_binding, check_peft
from adapt.validate_pretraining import MEASURED_TEXTS, TEXTS, check_domains, check_pretraining, check_samples

CHOICES = {
    "model.format": ("embedded", "minilm", "hf", "tfidf"),
    "corpus.format": ("pydoc", "files", "hub"),
    "general.format": ("pydoc", "files", "hub"),
    "finetune.method": ("full", "linear_probe"),
    "finetune.pooling": ("cls", "mean"),
    "runtime.device": ("auto", "cpu"),
    "adversary.dropout": ("same", "fresh", "off"),
    "pretrain_adversary.dropout": ("same", "fresh", "off"),
}
STAGE_CHOICES = {
    "schedule": ("linear", "cosine", "constant"),
    "precision": ("no", "bf16", "fp16"),
    "text": TEXTS,
    "leaks": ("drop", "keep"),
    "entity_markers": ("keep", "strip"),
    "texts": MEASURED_TEXTS,
    "strategy": STRATEGIES,
    "recipes": RECIPES,
    "norm": ("l2", "linf"),
    "inherit": ("merge", "stack", "drop"),
    "scope": ("token", "sequence", "document"),
    "members": ("pgd", "apgd_ce", "apgd_dlr", "minimal_norm", "gradient_free"),
}
AT_LEAST_ONE = (
    "batch_size", "micro_batch_size", "epochs", "steps", "num_steps", "max_length", "evaluations",
    "heldout_sequences", "sequences", "train", "dev", "test", "max_examples", "max_documents", "corpus_documents",
    "train_examples", "eval_examples", "attack_examples", "attack_steps", "dapt_steps", "tapt_steps", "threads",
    "processes", "ensemble_examples", "selected_documents", "neighbours", "documents", "anchors", "span_length",
    "min_frequency", "text_attack_examples", "text_attack_queries", "candidates", "queries",
    "r", "init_r", "target_r", "num_virtual_tokens", "size", "adapter_len", "adapter_layers", "deltaT",
    "restarts", "minimal_norm_steps", "gradient_free_queries", "prompts", "prompt_words", "max_new_tokens",
)  # fmt: skip
NOT_NEGATIVE = (
    "epsilon", "weight", "clean_weight", "teacher_weight", "step_size", "random_starts", "head_steps", "learning_rate",
    "head_learning_rate", "weight_decay", "checkpoint_seconds", "patience", "min_words", "seed",
    "toward_start", "frozen_layers", "new_tokens", "gamma", "init", "temperature", "token_norm",
)  # fmt: skip
ABOVE_ZERO = (
    "eps",
    "clip_norm",
    "length",
    "learning_rate_factor",
)  # clip_norm=null is what switches clipping off; 0 would stop the training
SHARES = (
    "rate", "dropout", "warmup_fraction", "heldout_fraction", "betas", "early_beta", "late_beta", "early_share",
    "importance_threshold",
)  # fmt: skip
CONFIGURED = {"corpus", "general", "other_task"}  # text sources with a config of their own, beside the task
STUDY = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # no way out of a folder
TARGETS = ("adapt.", "peft.", "torch.optim.")  # what a config from someone else may name


def check_values(cfg: DictConfig) -> Config:
    """The config as dataclasses, once nothing is missing and every number can be meant. Imports no torch."""
    refuse_unknown_keys(cfg)
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"{missing[0]} has no value; set it on the command line: {missing[0]}=...")
    typed: Config = OmegaConf.to_object(cfg)  # type: ignore[assignment]
    plain = OmegaConf.to_container(cfg, resolve=True)
    for key, value in sorted(leaves(plain), key=lambda leaf: not leaf[0].startswith("budget.")):
        check_value(key, value)  # budget first: the others refer to it, and the error should name what was set
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
    for key, possible in CHOICES.items():
        value = OmegaConf.select(cfg, key)
        if value not in possible:
            raise ConfigError(f"{key}={value}: possible are {', '.join(possible)}")
    check_kind(typed)
    check_text_attack(typed)
    check_pretraining(typed)
    check_domains(typed)
    check_peft(typed)
    check_samples(typed)
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


def check_attack(attack: AttackConfig) -> None:
    """That there is an attack and a radius, and that each member has the number that it needs."""
    key, possible = "evaluate.attack", ", ".join(STAGE_CHOICES["members"])
    if not attack.epsilons:
        raise ConfigError(f"{key}.epsilons=[]: must name at least one radius; evaluate=clean attacks nothing")
    if not attack.members:
        raise ConfigError(f"{key}.members=[]: must name at least one attack; possible are {possible}")
    for name in attack.members:
        if attack.members.count(name) > 1:
            raise ConfigError(f"{key}.members={attack.members}: {name} is there twice")
    for name, number in {"minimal_norm": "minimal_norm_steps", "gradient_free": "gradient_free_queries"}.items():
        if name in attack.members and getattr(attack, number) is None:
            raise ConfigError(f"{key}.{number}=null: {name} is among the members and needs a number")
    if attack.checks and not {"apgd_ce", "pgd"} & set(attack.members):
        raise ConfigError(f"{key}.checks=true: what is checked is apgd_ce or pgd; add one of them to {key}.members")
    if attack.checks and not any(epsilon > 0 for epsilon in attack.epsilons):
        raise ConfigError(f"{key}.checks=true: needs a radius above 0 among {key}.epsilons={attack.epsilons}")


def check_text_attack(cfg: Config) -> None:
    """One recipe or more, each once."""
    recipes = cfg.evaluate.text.recipes if cfg.evaluate.text else list(RECIPES)
    if not recipes:
        raise ConfigError(f"evaluate.text.recipes=[]: name one or more of {', '.join(RECIPES)}; or set text to null")
    for name in recipes:
        if recipes.count(name) > 1:
            raise ConfigError(f"evaluate.text.recipes=[{','.join(recipes)}]: {name} is there twice")


def refuse_unknown_keys(cfg: DictConfig) -> None:
    """`+foo=1` slips past a schema: compare the keys of every typed node with its dataclass."""
    for key, node in nodes(cfg):
        declared = OmegaConf.get_type(node)
        if dataclasses.is_dataclass(declared):
            possible = [field.name for field in dataclasses.fields(declared)]
            for extra in sorted(set(map(str, node)) - set(possible)):
                path = f"{key}.{extra}" if key else extra
                raise ConfigError(f"{path}: no such key; {suggestion(extra, possible)}")


def nodes(cfg: DictConfig, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """The config and every mapping in it, under their dotted keys."""
    yield path, cfg
    for key in cfg:
        if OmegaConf.is_missing(cfg, key):
            continue
        child = cfg[key]
        if isinstance(child, DictConfig):
            name = str(key)
            yield from nodes(child, f"{path}.{name}" if path else name)


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every value under its dotted key."""
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in leaves(value, f"{path}.{key}" if path else str(key))]
    if isinstance(tree, list):
        return [leaf for value in tree for leaf in leaves(value, path)]
    return [(path, tree)]


def check_value(key: str, value: Any) -> None:
    """Raise ConfigError if the value is out of the range or choices that the last part of its key stands for."""
    name = key.rpartition(".")[2].removesuffix("s") if key.endswith("epsilons") else key.rpartition(".")[2]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}={value}: must be a finite number")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if name in AT_LEAST_ONE and value < 1:
            raise ConfigError(f"{key}={value}: must be 1 or more")
        if name in NOT_NEGATIVE and value < 0:
            raise ConfigError(f"{key}={value}: must be 0 or more")
        if name in ABOVE_ZERO and value <= 0:
            raise ConfigError(f"{key}={value}: must be more than 0")
    if name in SHARES and isinstance(value, (int, float)) and not 0 <= value < 1:
        raise ConfigError(f"{key}={value}: must be at least 0 and less than 1")
    if name in ("max_words", "layer_decay", "near_duplicates") and value is not None and not 0 < value <= 1:
        raise ConfigError(f"{key}={value}: must be more than 0 and at most 1")
    elsewhere = key.startswith(("corpus.", "task.")) or key == "evaluate.text"  # the same name, with another meaning
    if name in STAGE_CHOICES and value not in STAGE_CHOICES[name] and not elsewhere:
        raise ConfigError(f"{key}={value}: possible are {', '.join(STAGE_CHOICES[name])}")
    if name == "_target_" and not str(value).startswith(TARGETS):
        raise ConfigError(f"{key}={value}: a config may name only {', '.join(target + '*' for target in TARGETS)}")


def check_parts(cfg: Config) -> None:
    """That adversary, trackers, task and corpus are there and fit. Imports what they need."""
    for key, adversary in {"adversary": cfg.adversary, "pretrain_adversary": cfg.pretrain_adversary}.items():
        check_binds(f"{key}.method", adversary.method)
        check_needs(key, adversary)
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
    """accelerate leaves out a tracker whose package is missing; here it is refused."""
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    known, installed = [str(name) for name in LoggerType], [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in known:
            raise ConfigError(f"runtime.trackers={name}: no such tracker; {suggestion(name, known)}")
        if name not in (*installed, "all"):
            raise ConfigError(f"runtime.trackers={name}: its package is not installed; pip install {name}")
