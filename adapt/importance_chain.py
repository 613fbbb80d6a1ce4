"""What selective masking reads: a classifier, what it goes by, and marks on a stage's text. Builds nothing.

``pretrain.<stage>.masking.strategy=selective`` (Gu et al., 2020): a classifier of the run's task is fine-tuned plainly
from the model that the stage starts from, the tokens that it goes by are found on the task's training texts and
learned by a token classifier, and that marks all text that the stage reads, what is mixed in included: as large a share
of it as is important in the training texts, one token of a sequence at least. The classifier reads each training text
once for each of its tokens.

All of it has the seed of the pretraining stage, so that runs that differ in their own seed alone share one adaptation;
a run of that seed, ``adversary=none`` and the stages before shares the classifier. The adaptation depends on the run's
fine-tuning settings and labels: another finetune.epochs is another adaptation.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TypeVar

from omegaconf import OmegaConf

from adapt.config import CONF, AdversaryConfig, Config, FinetuneConfig, PeftConfig, PretrainConfig
from adapt.finetune_chain import LOOP, MODEL, finetune_stage
from adapt.stage import Source, Stage, without

T = TypeVar("T")
MARKING = ("adapt.tasks.marking", "adapt.tasks.tagging")


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
            modules=("adapt.stages.marks", "adapt.data.marks", "adapt.data.tokens", *MARKING, *MODEL),
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
            *("adapt.stages.importance", "adapt.data.importance", "adapt.stages.finetune", "adapt.tasks.prediction"),
            *("adapt.data.pieces", "adapt.data.text", *MARKING, *MODEL, *LOOP),
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
