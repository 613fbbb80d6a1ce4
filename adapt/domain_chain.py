"""The stages that measure what adaptation did, apart from what a classifier makes of it. Builds nothing.

All of them depend on the adapted model, texts and tokenizer alone, so that every fine-tuning of a model shares them.
Their rows reach a run as inputs of its evaluation.
"""

from __future__ import annotations

from dataclasses import asdict

from adapt.config import Config, DomainsConfig, SamplesConfig
from adapt.finetune_chain import adapted, of_pretraining
from adapt.stage import Source, Stage
from adapt.text_chain import TextChain, tokens_stage

MEASURING = (
    *("adapt.stages.domains", "adapt.tasks.heldout", "adapt.tasks.language_modelling"),
    *("adapt.training.objectives", "adapt.data.masking"),
    *("adapt.data.next_tokens", "adapt.data.tokens", "adapt.data.batching", "adapt.models.loading"),
    *("adapt.models.packing", "adapt.models.language"),
)
SAMPLING = (
    *("adapt.stages.samples", "adapt.tasks.generation", "adapt.models.loading", "adapt.data.batching"),
    *("adapt.data.pieces", "adapt.data.text"),
)
PROBE = ("adapt.stages.trajectory", "adapt.stages.baseline", "adapt.tasks.prediction")
WORDS = ("adapt.stages.vocabulary_overlap", "adapt.data.vocabulary_overlap", "adapt.data.text", "adapt.models.loading")


def domain_stages(
    cfg: Config,
    text: TextChain,
    model: Stage | Source,
    pretrained: list[Stage],
    tokenizer: Stage | Source,
    task: Stage,
) -> dict[str, Stage]:
    """The stages by the name of the evaluation's input; none unless ``evaluate.domains`` or ``samples`` says so.

    model: what fine-tuning starts from; pretrained: the stages that led to it.
    """
    written = {} if cfg.evaluate.samples is None else {"samples": samples_stage(cfg, cfg.evaluate.samples, text, model)}
    settings = cfg.evaluate.domains
    if settings is None:
        return written
    texts = {name: text.source(name, leaks="drop") for name in settings.texts}
    length = settings.max_length
    tokens = {
        f"text.{name}": tokens_stage(given, tokenizer, max_length=length, packing=False)
        for name, given in texts.items()
    }
    found = {
        **written,
        "domains": losses_stage(cfg, settings, model, tokens),
        "words": words_stage(texts, tokenizer),
    }
    for trained in pretrained:
        if trained.label in settings.along:
            inputs = {"model": trained, "task": task, **tokens}
            found[f"trajectory.{trained.label}"] = trajectory_stage(cfg, settings, inputs)
    return found


def losses_stage(cfg: Config, settings: DomainsConfig, model: Stage | Source, tokens: dict[str, Stage]) -> Stage:
    """The loss of ``model`` as a language model on the held-out part of each text."""
    config = {"sequences": settings.sequences, "batch_size": cfg.evaluate.batch_size}
    return Stage(
        kind="domains",
        label="domains",
        function="adapt.stages.domains:domains",
        modules=(*MEASURING, *adapted(*of_pretraining(cfg))),
        argument=settings,
        inputs={"model": model, **tokens},
        config=config,
        more={"batch_size": cfg.evaluate.batch_size},
    )


def words_stage(texts: dict[str, Stage], tokenizer: Stage | Source) -> Stage:
    """What the texts share of their words, and how the tokenizer cuts the words of each."""
    return Stage(
        kind="words",
        label="words",
        function="adapt.stages.vocabulary_overlap:vocabulary_overlap",
        modules=WORDS,
        argument=None,
        inputs={"tokenizer": tokenizer, **texts},
        config={},
    )


def trajectory_stage(cfg: Config, settings: DomainsConfig, inputs: dict[str, Stage]) -> Stage:
    """Losses and a linear probe of the task along a pretraining stage that kept its snapshots."""
    more = {"batch_size": cfg.evaluate.batch_size, "max_length": cfg.finetune.max_length}
    return Stage(
        kind="trajectory",
        label=f"trajectory/{inputs['model'].label}",
        function="adapt.stages.trajectory:trajectory",
        modules=(*PROBE, *MEASURING, *adapted(*of_pretraining(cfg))),
        argument=settings,
        inputs=dict(inputs),
        config={"sequences": settings.sequences, **more},
        more=more,
    )


def samples_stage(cfg: Config, settings: SamplesConfig, text: TextChain, model: Stage | Source) -> Stage:
    """What ``model`` writes after the beginnings of held-out texts; the batch size changes no token of it."""
    return Stage(
        kind="samples",
        label="samples",
        function="adapt.stages.samples:samples",
        modules=(*SAMPLING, *adapted(*of_pretraining(cfg))),
        argument=settings,
        inputs={"model": model, "text": text.source(settings.text, leaks="drop")},
        config=asdict(settings),
        more={"batch_size": cfg.evaluate.batch_size},
    )
