"""Refuse what a run asks of a task of another kind: metrics, formats, methods and measurements."""

from __future__ import annotations

from adapt.config import Config, ConfigError, TaskConfig
from adapt.data.tasks import KINDS
from adapt.table import metrics


def check_kind(cfg: Config) -> None:
    """That each task's metric and format are of its kind, and that a run asks of its task what the kind can do.

    Raises ConfigError.
    """
    for key, task in {"task": cfg.task, "other_task": cfg.other_task}.items():
        check_task_kind(key, task)
    if not KINDS[cfg.task.kind].classifies:
        refuse_what_needs_a_classifier(cfg)


def check_task_kind(key: str, task: TaskConfig) -> None:
    """A kind that is there, and a format, a metric and columns that it knows."""
    if task.kind not in KINDS:
        raise ConfigError(f"{key}.kind={task.kind}: possible are {', '.join(KINDS)}")
    kind = KINDS[task.kind]
    with_kind = "" if kind.classifies else f" with {key}.kind={task.kind}"
    for name, possible in {"format": kind.formats, "metric": metrics.of_kind(task.kind)}.items():
        if getattr(task, name) not in possible:
            raise ConfigError(f"{key}.{name}={getattr(task, name)}: possible are {', '.join(possible)}{with_kind}")
    kind.check_columns(key, task)


def refuse_what_needs_a_classifier(cfg: Config) -> None:
    """Leave full fine-tuning of an encoder, measured clean."""
    kind = f"task.kind={cfg.task.kind}"
    if cfg.model.format == "tfidf":
        raise ConfigError(f"model={cfg.model.name}: labels whole texts; {kind} needs an encoder, such as model=tiny")
    if cfg.finetune.method == "linear_probe":
        raise ConfigError(
            f"finetune={cfg.finetune.name}: method=linear_probe labels whole texts; with {kind} use finetune=full"
        )
    if cfg.evaluate.attack is not None or cfg.evaluate.text is not None:
        raise ConfigError(f"evaluate={cfg.evaluate.name}: attacks classifiers alone; with {kind} use evaluate=clean")
    if cfg.adversary.kept is not None:
        raise ConfigError(
            f"adversary={cfg.adversary.name}: keeps perturbations of a classifier; with {kind} use another adversary"
        )
    if cfg.task.unlabelled is not None and any(stage.text == "pool" for stage in cfg.pretrain.values()):
        raise ConfigError(
            f"task.unlabelled={cfg.task.unlabelled}: the pool of {kind} is its own training split; set it to null, or "
            "read the text as corpus=files"
        )
