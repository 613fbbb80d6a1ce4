"""The ranges and choices of single values, by the last part of their keys; and the walk over a config's nodes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from adapt.config import ConfigError, suggestion
from adapt.data.masking.strategies import STRATEGIES
from adapt.project import packages
from adapt.text_attacks.names import RECIPES

TEXTS = ("corpus", "general", "task", "pool", "other_task")
MEASURED_TEXTS = ("corpus", "general", "task", "other_task")  # the held-out text of a pool is its task's
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
TARGETS = ("adapt.", "peft.", "torch.optim.")  # what a config from someone else may name


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
        check_own_target(key, str(value))


def check_own_target(key: str, target: str) -> None:
    """Raise ConfigError unless it is an adversary's, and the user has named its package outside of any config."""
    adversary = key.partition(".")[0] in ("adversary", "pretrain_adversary")
    if adversary and packages.is_named(target):
        return
    shipped = f"{key}={target}: a config may name only {', '.join(start + '*' for start in TARGETS)}"
    if not adversary:
        raise ConfigError(shipped)
    package = target.partition(".")[0]
    raise ConfigError(
        f"{shipped}; if you trust the package {package}, name it yourself: "
        f"adapt {packages.FLAG} {package} ..., or {packages.VARIABLE}={package}"
    )
