"""A run's config as a DAG of stages: what each is made from, and by which function. Builds nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from adapt.config import Config, PretrainConfig, TaskConfig
from adapt.data.strategies import SELECTIVE
from adapt.domain_chain import domain_stages
from adapt.finetune_chain import (
    LOOP,
    MODEL,
    PERTURBED,
    adapted,
    finetune_stage,
    identity,
    kind_modules,
    of_pretraining,
    peft_identity,
    target_module,
)
from adapt.importance_chain import marks_stages
from adapt.stage import Source, Stage, without
from adapt.store import sources
from adapt.text_attacks.names import needs_masked_lm
from adapt.text_chain import TextChain, leaks_stage, task_stage

# The modules whose arithmetic a stage runs: their VERSIONs are part of its key.
_ATTACKS = (
    *("adapt.stages.robustness", "adapt.attacks.victim", "adapt.attacks.ensemble", "adapt.attacks.checks"),
    *("adapt.attacks.apgd", "adapt.attacks.minimal_norm", "adapt.attacks.gradient_free", "adapt.attacks.report"),
)
_TEXT_ATTACKS = (
    *("adapt.text_attacks.words", "adapt.text_attacks.search", "adapt.text_attacks.characters"),
    *("adapt.text_attacks.vocabulary", "adapt.text_attacks.neighbours", "adapt.text_attacks.masked_lm"),
    *("adapt.text_attacks.recipes", "adapt.text_attacks.records", "adapt.text_attacks.victim"),
    *("adapt.text_attacks.measure", "adapt.models.language"),
)


def chain_of(cfg: Config, named_task: Callable[[str], TaskConfig], hashes: sources.FileHashes) -> list[Stage]:
    """The stages of a run that lead to model and score, in order; the last one is its evaluation.

    named_task composes the config of another task by name, for ``corpus.exclude``.
    """
    task = task_stage(cfg.task, hashes)
    if cfg.model.format == "tfidf":
        return baseline_chain(cfg, task, leaks_stage(cfg, task, hashes, {}))
    folder = sources.model_folder(cfg.model)
    model: Stage | Source = Source(folder, hashes.of_model(folder))
    tokenizer: Stage | Source = Source(folder, hashes.of_tokenizer(folder))
    text = TextChain(cfg, named_task, hashes)
    stages: list[Stage] = []
    kept: dict[str, Stage | Source] = {}  # text that may hold dev or test text
    for settings in cfg.pretrain.values():
        if not stages and cfg.vocabulary.new_tokens:
            model = tokenizer = vocabulary_stage(cfg, model, text.read(settings, model))
        inputs = text.inputs(settings, model, tokenizer)
        if settings.masking.strategy == SELECTIVE:
            inputs |= marks_stages(cfg, settings, model, task, inputs)
        if settings.leaks == "keep":
            kept |= {f"{settings.name} {name}": x.inputs["text"] for name, x in inputs.items() if x.kind == "tokens"}
        model = pretrain_stage(cfg, settings, model, inputs)
        stages.append(model)
    measured = domain_stages(cfg, text, model, list(stages), tokenizer, task)
    stages.append(finetune_stage(cfg, model, task))
    leaks = leaks_stage(cfg, task, hashes, kept)
    stages.append(evaluate_stage(cfg, stages[-1], task, leaks, masked_lm=model, measured=measured))
    return stages


def vocabulary_stage(cfg: Config, model: Stage | Source, text: Stage) -> Stage:
    """The base model with new tokens for the text, before anything is trained."""
    return Stage(
        kind="vocabulary",
        label="vocabulary",
        function="adapt.stages.vocabulary:vocabulary",
        modules=("adapt.stages.vocabulary", "adapt.models.vocabulary", "adapt.models.loading"),
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
            *("adapt.stages.pretrain", "adapt.data.masking", "adapt.data.tokens", "adapt.data.mixing"),
            *("adapt.tasks.heldout", "adapt.tasks.language_modelling", "adapt.models.language", "adapt.models.packing"),
            *("adapt.data.next_tokens", "adapt.data.word_masking", "adapt.data.anchors"),
            *(("adapt.data.marks",) if settings.masking.strategy == SELECTIVE else ()),
            *(target_module(cfg.pretrain_adversary), *MODEL, *LOOP, *adapted(cfg.pretrain_peft)),
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
    )


def evaluate_stage(
    cfg: Config, model: Stage, task: Stage, leaks: Stage, masked_lm: Stage | Source, measured: dict[str, Stage]
) -> Stage:
    """Clean and attacked scores of ``model`` on the task, cut at the token limit of its fine-tuning.

    leaks: the stage that knows which test examples nothing that was trained on holds.
    masked_lm: what fine-tuning began from; an input only where an attack on the text proposes words by it.
    measured: stages that it does not read, whose rows belong to the run.
    """
    text = cfg.evaluate.text
    proposes = {"masked_lm": masked_lm} if text is not None and needs_masked_lm(text.recipes) else {}
    unused = ("name", "domains", "samples") if text is not None else ("name", "domains", "samples", "text")
    return Stage(
        kind="evaluate",
        label="evaluate",
        function="adapt.stages.evaluate:evaluate",
        modules=(
            *("adapt.stages.evaluate", "adapt.tasks.scores", *kind_modules(cfg), *_ATTACKS, *MODEL, *PERTURBED),
            *adapted(cfg.peft, *of_pretraining(cfg)),
            *(_TEXT_ATTACKS if text is not None else ()),
        ),
        argument=cfg.evaluate,
        inputs={"model": model, "task": task, "leaks": leaks, **proposes, **measured},
        config={**without(asdict(cfg.evaluate), *unused), "max_length": cfg.finetune.max_length},
        more={"max_length": cfg.finetune.max_length},
    )


def baseline_chain(cfg: Config, task: Stage, leaks: Stage) -> list[Stage]:
    """TF-IDF: no encoder, no adversary, and nothing to attack in embedding space."""
    modules = ("adapt.stages.baseline", "adapt.tasks.prediction")
    fit = Stage("finetune", "tfidf", "adapt.stages.baseline:tfidf", modules, None, {"task": task}, {"method": "tfidf"})
    measure = Stage(
        "evaluate",
        "evaluate",
        "adapt.stages.baseline:evaluate_tfidf",
        (*modules, "adapt.tasks.scores"),
        None,
        {"model": fit, "task": task, "leaks": leaks},
        {"model": "tfidf"},
    )
    return [fit, measure]
