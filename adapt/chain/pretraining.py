"""The stages of continued pretraining: new tokens, training, and the marks of selective masking. Builds nothing.

``pretrain.<stage>.masking.strategy=selective`` (Gu et al., 2020) takes three steps:

1. A classifier of the run's task is fine-tuned, without an adversary, from the model that the stage starts from.
2. The tokens that decide its predictions are found on the task's training texts, which it reads once for each of their
   tokens, and a token classifier learns them.
3. The token classifier marks all text that the stage reads, mixed-in text included: the same share of tokens as is
   important in the training texts, and at least one token per sequence.

The stages of these steps have the seed of the pretraining stage, so that runs that differ only in their own seed share
one adaptation. A run with that seed, ``adversary=none`` and the same earlier stages shares the classifier. The
adaptation depends on the run's fine-tuning settings and labels: another finetune.epochs is another adaptation.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TypeVar

from omegaconf import OmegaConf

from adapt.chain.finetuning import (
    LOOP,
    MODEL,
    PLAIN,
    adapted,
    adapting,
    adversary_modules,
    adversary_settings,
    finetune_stage,
    peft_settings,
)
from adapt.chain.methods import passes
from adapt.chain.stage import Source, Stage, without
from adapt.config import CONF, AdversaryConfig, Config, FinetuneConfig, PeftConfig, PretrainConfig
from adapt.data.masking.strategies import SELECTIVE

T = TypeVar("T")
MARKING = ("adapt.tasks.marking", "adapt.tasks.tagging")
SEQUENCES = ("adapt.data.tokens.tokens", "adapt.data.tokens.words")


def vocabulary_stage(cfg: Config, model: Stage | Source, text: Stage) -> Stage:
    """The base model with new tokens for the text, not yet trained."""
    return Stage(
        kind="vocabulary",
        label="vocabulary",
        function="adapt.stages.vocabulary:vocabulary",
        modules=("adapt.stages.vocabulary", "adapt.models.vocabulary", "adapt.models.loading", "adapt.models.heads"),
        argument=cfg.vocabulary,
        inputs={"model": model, "text": text},
        config=without(asdict(cfg.vocabulary), "name"),
    )


def pretrain_stage(cfg: Config, settings: PretrainConfig, model: Stage | Source, inputs: dict[str, Stage]) -> Stage:
    """Continued pretraining of ``model``. Of its text and its selection the key knows only the tokens and marks."""
    snapshots = cfg.evaluate.domains is not None and settings.name in cfg.evaluate.domains.along
    return Stage(
        kind="pretrain",
        label=settings.name,
        function="adapt.stages.pretrain:pretrain",
        modules=(
            *("adapt.stages.pretrain", "adapt.data.masking.tokens", "adapt.data.tokens.mixing", *SEQUENCES),
            *("adapt.tasks.heldout", "adapt.tasks.language_modelling", "adapt.models.language", "adapt.models.packing"),
            *("adapt.data.masking.next_tokens", "adapt.data.masking.words", "adapt.data.masking.anchors"),
            *(("adapt.data.masking.marks",) if settings.masking.strategy == SELECTIVE else ()),
            *(PLAIN, *adversary_modules(cfg.pretrain_adversary), *MODEL, *LOOP, *adapting(model, cfg.pretrain_peft)),
        ),
        argument=settings,
        inputs={"model": model, **inputs},
        config={
            **without(asdict(settings), "name", "text", "selection", "leaks", "packing", "masking"),
            "masking": without(asdict(settings.masking), "importance_threshold"),
            "snapshots": snapshots,
            "adversary": adversary_settings(cfg.pretrain_adversary),
            **peft_settings(cfg, cfg.pretrain_peft),
        },
        more={
            "adversary": cfg.pretrain_adversary,
            "snapshots": snapshots,
            "peft": cfg.pretrain_peft,
            "unquantized": cfg.model.modules.unquantized,
        },
        trains=True,
        role="adapts",
        step=step_name(settings),
        work=settings.steps * settings.batch_size * settings.max_length / 2 * passes(cfg.pretrain_adversary),
    )


def step_name(settings: PretrainConfig) -> str:
    """The stage's part of its chain's name.

    A selection that the command line turned into a control gets the suffix _control; the shipped controls are already
    called rand_*.
    """
    control = settings.selection is not None and settings.selection.control
    return settings.name + "_control" * (control and not settings.name.startswith("rand_"))


def marks_stages(
    cfg: Config, settings: PretrainConfig, model: Stage | Source, task: Stage, read: dict[str, Stage]
) -> dict[str, Stage]:
    """The marks of each token input ``<name>``, as ``marks.<name>``; model: the one that the stage starts from."""
    finetune = replace(cfg.finetune, method="full")  # so that runs with a linear probe share the marks
    plain = replace(cfg, finetune=finetune, adversary=plain_training(), peft=option(PeftConfig, "peft", "full"))
    plain = replace(plain, seed=settings.seed)
    classifier = finetune_stage(plain, model, task, f"{settings.name} classifier")
    importance = importance_stage(finetune, settings, model, classifier, task)
    return {
        f"marks.{name}": Stage(
            kind="marks",
            label=f"{settings.name} {name} marks",
            function="adapt.stages.marks:marks",
            modules=(
                *("adapt.stages.marks", "adapt.data.masking.marks", *SEQUENCES, *MARKING, *MODEL),
                *("adapt.training.objectives", *adapted(importance)),
            ),
            argument=None,
            inputs={"importance": importance, "tokens": tokens},
            config={"batch_size": settings.micro_batch_size},
            more={"batch_size": settings.micro_batch_size},
            by_content=True,
        )
        for name, tokens in read.items()
    }


def importance_stage(
    finetune: FinetuneConfig, settings: PretrainConfig, model: Stage | Source, classifier: Stage, task: Stage
) -> Stage:
    """A token classifier on ``model``: which tokens of the training texts decide what ``classifier`` predicts."""
    more = {"threshold": settings.masking.importance_threshold, "seed": settings.seed}
    return Stage(
        kind="importance",
        label=f"{settings.name} importance",
        function="adapt.stages.importance:importance",
        modules=(
            *("adapt.stages.importance", "adapt.stages.finetune", "adapt.data.masking.importance"),
            *("adapt.tasks.prediction", "adapt.data.tokens.pieces", "adapt.data.text", *MARKING, *MODEL),
            "adapt.data.characters",
            *(PLAIN, *LOOP, *adapting(model)),
        ),
        argument=finetune,
        inputs={"model": model, "classifier": classifier, "task": task},
        config={"finetune": without(asdict(finetune), "name"), **more},
        more=more,
        trains=True,
    )


def plain_training() -> AdversaryConfig:
    """The config of ``adversary=none``, from its option file."""
    return option(AdversaryConfig, "adversary", "none")


def option(kind: type[T], group: str, name: str) -> T:
    """An option of a group as its dataclass; the file must not refer to other options."""
    values = OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.load(CONF / group / f"{name}.yaml"))
    typed: T = OmegaConf.to_object(values)  # type: ignore[assignment]
    return typed
