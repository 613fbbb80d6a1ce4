"""The stages of continued pretraining: new tokens, training, and what selective masking reads. Builds nothing.

``pretrain.<stage>.masking.strategy=selective`` (Gu et al., 2020): a classifier of the run's task is fine-tuned plainly
from the model that the stage starts from, the tokens that it goes by are found on the task's training texts and
learned by a token classifier, and that marks all text that the stage reads, what is mixed in included: as large a share
of it as is important in the training texts, one token of a sequence at least. The classifier reads each training text
once for each of its tokens.

All that selective masking reads has the seed of the pretraining stage, so that runs that differ in their own seed
alone share one adaptation; a run of that seed, ``adversary=none`` and the stages before shares the classifier. The
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
    finetune_stage,
    identity,
    peft_identity,
)
from adapt.chain.methods import passes
from adapt.chain.stage import Source, Stage, without
from adapt.config import CONF, AdversaryConfig, Config, FinetuneConfig, PeftConfig, PretrainConfig
from adapt.data.masking.strategies import SELECTIVE

T = TypeVar("T")
MARKING = ("adapt.tasks.marking", "adapt.tasks.tagging")
SEQUENCES = ("adapt.data.tokens.tokens", "adapt.data.tokens.words")


def vocabulary_stage(cfg: Config, model: Stage | Source, text: Stage) -> Stage:
    """The base model with new tokens for the text, before anything is trained."""
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
    """Continued pretraining of ``model`` on the tokens among ``inputs``; text and marks are known by those alone."""
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
            "adversary": identity(cfg.pretrain_adversary),
            **peft_identity(cfg, cfg.pretrain_peft),
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
    """The stage in the name of its chain: a selection that the command line made a control says so.

    The controls' own files are called rand_*.
    """
    control = settings.selection is not None and settings.selection.control
    return settings.name + "_control" * (control and not settings.name.startswith("rand_"))


def marks_stages(
    cfg: Config, settings: PretrainConfig, model: Stage | Source, task: Stage, read: dict[str, Stage]
) -> dict[str, Stage]:
    """For each of the stage's token inputs ``<name>`` its marks, as ``marks.<name>``; model: what it starts from."""
    finetune = replace(cfg.finetune, method="full")  # a linear probe of the adapted model goes by the same marks
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
    """A token classifier on ``model`` of what ``classifier`` goes by on the task's labelled training texts."""
    more = {"threshold": settings.masking.importance_threshold, "seed": settings.seed}
    return Stage(
        kind="importance",
        label=f"{settings.name} importance",
        function="adapt.stages.importance:importance",
        modules=(
            *("adapt.stages.importance", "adapt.stages.finetune", "adapt.data.masking.importance"),
            *("adapt.tasks.prediction", "adapt.data.tokens.pieces", "adapt.data.text", *MARKING, *MODEL),
            *(PLAIN, *LOOP, *adapting(model)),
        ),
        argument=finetune,
        inputs={"model": model, "classifier": classifier, "task": task},
        config={"finetune": without(asdict(finetune), "name"), **more},
        more=more,
        trains=True,
    )


def plain_training() -> AdversaryConfig:
    """``adversary=none``, as its option file says it."""
    return option(AdversaryConfig, "adversary", "none")


def option(kind: type[T], group: str, name: str) -> T:
    """An option file that refers to no other."""
    values = OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.load(CONF / group / f"{name}.yaml"))
    found: T = OmegaConf.to_object(values)  # type: ignore[assignment]
    return found
