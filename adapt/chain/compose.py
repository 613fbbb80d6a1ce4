"""A run's config as a DAG of stages: the inputs of each and the function that builds it. Builds nothing."""

from __future__ import annotations

from collections.abc import Callable

from adapt.chain.evaluation import baseline_chain, candidates_stage, domain_stages, evaluate_stage
from adapt.chain.finetuning import finetune_stage
from adapt.chain.pretraining import marks_stages, pretrain_stage, vocabulary_stage
from adapt.chain.stage import Source, Stage
from adapt.chain.text import TextChain, leaks_stage, reading_stage, task_stage
from adapt.config import Config, TaskConfig
from adapt.data.masking.strategies import SELECTIVE
from adapt.store import sources


def chain_of(cfg: Config, named_task: Callable[[str], TaskConfig], hashes: sources.FileHashes) -> list[Stage]:
    """The stages that train and score the run's model, in order; the last one is its evaluation.

    named_task: composes the config of another task by name, for ``corpus.exclude``.
    """
    task = task_stage(cfg.task, hashes)
    if cfg.model.format == "tfidf":
        return baseline_chain(cfg, task, leaks_stage(cfg, task, hashes, {}))
    folder = sources.model_folder(cfg.model)
    model: Stage | Source = Source(folder, hashes.of_model(folder))
    tokenizer: Stage | Source = Source(folder, hashes.of_tokenizer(folder))
    text = TextChain(cfg, named_task, hashes)
    stages: list[Stage] = []
    leaky: dict[str, Stage | Source] = {}  # pretraining text that may hold dev or test text
    for settings in cfg.pretrain.values():
        if not stages and cfg.vocabulary.new_tokens:
            model = tokenizer = vocabulary_stage(cfg, model, text.read(settings, model))
        inputs = text.inputs(settings, model, tokenizer)
        if settings.masking.strategy == SELECTIVE:
            inputs |= marks_stages(cfg, settings, model, task, inputs)
        if settings.leaks == "keep":
            leaky |= {f"{settings.name} {name}": x.inputs["text"] for name, x in inputs.items() if x.kind == "tokens"}
        model = pretrain_stage(cfg, settings, model, inputs)
        stages.append(model)
    measured = domain_stages(cfg, text, model, list(stages), tokenizer, task)
    stages.append(finetune_stage(cfg, model, task))
    leaks = leaks_stage(cfg, task, hashes, leaky)
    stages.append(evaluate_stage(cfg, stages[-1], task, leaks, masked_lm=model, measured=measured))
    return stages


def readings_of(cfg: Config, chain: list[Stage], hashes: sources.FileHashes) -> list[Stage]:
    """The stages that only tell how the texts of a run are read; they are built first, and no other stage needs them.

    They are not inputs of the evaluation, so that its key does not depend on what is told.
    """
    task = chain[-1].inputs["task"]
    assert isinstance(task, Stage)
    stages = [] if cfg.evaluate.text is None else [candidates_stage(cfg.evaluate.text, task)]
    if cfg.model.format == "tfidf":
        return stages
    given = chain[-1].inputs["model"]
    while isinstance(given, Stage) and given.kind != "vocabulary":
        given = given.inputs["model"]
    tokenizer = given if isinstance(given, Stage) else Source(given.folder, hashes.of_tokenizer(given.folder))
    return [reading_stage(task, tokenizer, cfg.finetune.max_length), *stages]
