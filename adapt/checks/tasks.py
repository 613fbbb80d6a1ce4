"""Refuse metrics, formats, methods and measurements that a task's kind does not have."""

from __future__ import annotations

from adapt.config import Config, ConfigError, TaskConfig
from adapt.data.tasks import KINDS
from adapt.table import metrics


def check_kind(cfg: Config) -> None:
    """Refuse a metric or format of another kind of task, and a run that needs a classifier where the task has none.

    Raises ConfigError.
    """
    for key, task in {"task": cfg.task, "other_task": cfg.other_task}.items():
        check_task_kind(key, task)
    if not KINDS[cfg.task.kind].classifies:
        refuse_what_needs_a_classifier(cfg)


def check_task_kind(key: str, task: TaskConfig) -> None:
    """Refuse an unknown kind of task, and a format, metric or columns that the kind does not have."""
    if task.kind not in KINDS:
        raise ConfigError(f"{key}.kind={task.kind}: possible are {', '.join(KINDS)}")
    kind = KINDS[task.kind]
    with_kind = "" if kind.classifies else f" with {key}.kind={task.kind}"
    for name, possible in {"format": kind.formats, "metric": metrics.of_kind(task.kind)}.items():
        if getattr(task, name) not in possible:
            raise ConfigError(f"{key}.{name}={getattr(task, name)}: possible are {', '.join(possible)}{with_kind}")
    if metrics.METRICS[task.metric].needs_negative and task.negative_class is None:
        raise ConfigError(f"{key}.metric={task.metric}: leaves out a class; say which: {key}.negative_class=<label>")
    kind.check_columns(key, task)


def refuse_what_needs_a_classifier(cfg: Config) -> None:
    """Refuse all but full fine-tuning of an encoder with a clean evaluation."""
    kind = f"task.kind={cfg.task.kind}"
    if cfg.model.format == "tfidf":
        raise ConfigError(f"model={cfg.model.name}: labels whole texts; {kind} needs an encoder, such as model=tiny")
    if cfg.finetune.method == "linear_probe":
        raise ConfigError(
            f"finetune={cfg.finetune.name}: method=linear_probe labels whole texts; with {kind} use finetune=full"
        )
    if cfg.evaluate.attack is not None or cfg.evaluate.text is not None:
        raise ConfigError(f"evaluate={cfg.evaluate.name}: attacks only classifiers; with {kind} use evaluate=clean")
    if cfg.adversary.kept is not None:
        raise ConfigError(
            f"adversary={cfg.adversary.name}: keeps perturbations of a classifier; with {kind} use another adversary"
        )
    if cfg.task.unlabelled is not None and any(stage.text == "pool" for stage in cfg.pretrain.values()):
        raise ConfigError(
            f"task.unlabelled={cfg.task.unlabelled}: the pool of {kind} is its own training split; set it to null, or "
            "read the text as corpus=files"
        )
