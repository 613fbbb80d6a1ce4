"""Refuse pretraining stages that cannot be run: their texts, selections and masking; new tokens without a stage."""

from __future__ import annotations

from adapt.config import TEXTS, Config, ConfigError, MaskingConfig, SelectionConfig, TaskConfig
from adapt.data.masking.strategies import SELECTIVE, STRATEGIES
from adapt.data.tasks import KINDS


def check_pretraining(cfg: Config) -> None:
    """Refuse mixes that leave no room for a stage's own text, and the settings that the functions below refuse."""
    if cfg.vocabulary.new_tokens and not cfg.pretrain:
        raise ConfigError(
            f"vocabulary={cfg.vocabulary.name}: new tokens are made for a pretraining stage's text, and pretrain=[]; "
            "add a stage, or vocabulary=none"
        )
    for name, stage in cfg.pretrain.items():
        key = f"pretrain.{name}"
        for other in stage.mix:
            if other not in TEXTS or other == stage.text:
                possible = ", ".join(name for name in TEXTS if name != stage.text)
                raise ConfigError(f"{key}.mix.{other}: possible are {possible}")
        if sum(stage.mix.values()) >= 1:
            raise ConfigError(f"{key}.mix={dict(stage.mix)}: must sum to less than 1; the rest is {stage.text}")
        if stage.selection is not None:
            check_selection(f"{key}.selection", stage.selection)
        check_masking(f"{key}.masking", stage.masking, stage.text)
        if stage.masking.strategy == SELECTIVE:
            check_selective(f"{key}.masking", cfg.task)


def check_masking(key: str, masking: MaskingConfig, text: str) -> None:
    """Refuse masking by the difference from general text where the stage reads general text."""
    if masking.strategy == "difference" and text == "general":
        raise ConfigError(
            f"{key}.strategy=difference: compares a text with general text, and this stage reads general text itself; "
            "choose token, whole_word or span"
        )


def check_selective(key: str, task: TaskConfig) -> None:
    """Refuse selective masking for a task that does not give single texts a label."""
    others = ", ".join(name for name in STRATEGIES if name != SELECTIVE)
    refused = {
        f"task.kind={task.kind} {KINDS[task.kind].does}": not KINDS[task.kind].classifies,
        f"task.text_pair_column={task.text_pair_column} gives pairs": task.text_pair_column is not None,
    }
    for what, applies in refused.items():
        if applies:
            raise ConfigError(
                f"{key}.strategy={SELECTIVE}: marks the tokens that decide the label of a single text, but {what}; "
                f"choose another task, or one of {others}"
            )


def check_selection(key: str, selection: SelectionConfig) -> None:
    """Refuse a selection that lacks a setting its method needs, or has one that it does not read."""
    needed, other = ("documents", "neighbours") if selection.method == "dsir" else ("neighbours", "documents")
    if getattr(selection, needed) is None:
        raise ConfigError(f"{key}.{needed}=null: {selection.method} needs a number")
    unread = getattr(selection, other)
    if unread is not None:
        raise ConfigError(f"{key}.{other}={unread}: {selection.method} reads only {needed}; set it to null")
    if (selection.method == "sentences") != (selection.encoder is not None):
        raise ConfigError(
            f"{key}.encoder={selection.encoder}: method=sentences, and only that, needs the folder or hub name of a "
            "sentence-transformers model"
        )
