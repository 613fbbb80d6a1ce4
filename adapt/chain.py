"""A run's config as a DAG of stages: what each is made from, and by which function. Builds nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from adapt import sources
from adapt.config import AdversaryConfig, Config, CorpusConfig, KeptConfig, SplitSizes, TaskConfig
from adapt.text_attacks.names import needs_masked_lm

# The modules whose arithmetic a stage runs: their VERSIONs are part of its key.
_DATA = (
    "adapt.stages.data",
    "adapt.data.tasks",
    "adapt.data.corpora",
    "adapt.data.files",
    "adapt.data.leakage",
    "adapt.data.text",
)
_PYDOC = ("adapt.data.pydoc", "adapt.data.pydoc_tasks", "adapt.data.docstrings", "adapt.data.sections")
_MODEL = ("adapt.models", "adapt.data.batching")
_PERTURBED = ("adapt.objectives", "adapt.adversary.ball", "adapt.adversary.perturbation", "adapt.adversary.attack")
_LOOP = (
    *("adapt.training", "adapt.checkpoint", "adapt.optimization", "adapt.steps", "adapt.views"),
    *("adapt.adversary.plain", "adapt.adversary.divergence", *_PERTURBED),
)
_ATTACKS = (
    *("adapt.stages.robustness", "adapt.attacks.victim", "adapt.attacks.ensemble", "adapt.attacks.checks"),
    *("adapt.attacks.apgd", "adapt.attacks.minimal_norm", "adapt.attacks.gradient_free", "adapt.attacks.report"),
)

_TEXT_ATTACKS = (
    *("adapt.text_attacks.words", "adapt.text_attacks.search", "adapt.text_attacks.characters"),
    *("adapt.text_attacks.vocabulary", "adapt.text_attacks.neighbours", "adapt.text_attacks.masked_lm"),
    *("adapt.text_attacks.recipes", "adapt.text_attacks.records", "adapt.text_attacks.victim"),
    "adapt.text_attacks.measure",
)


@dataclass(frozen=True)
class Source:
    """An input that no stage made: a folder, known by the hash of its files."""

    folder: Path
    content: str


@dataclass
class Stage:
    """A node. ``config`` identifies it; the function is called as function(argument, inputs, out, runtime, **more)."""

    kind: str
    label: str  # for people, and in the split column of its rows
    function: str  # module:name, imported only when the stage is built
    modules: tuple[str, ...]
    argument: Any
    inputs: dict[str, Stage | Source]
    config: dict[str, Any]
    more: dict[str, Any] = field(default_factory=dict)
    by_content: bool = False  # data: children know it by its output's hash, so equal text shares what follows


def chain_of(cfg: Config, named_task: Callable[[str], TaskConfig], hashes: sources.FileHashes) -> list[Stage]:
    """The stages of a run that lead to model and score, in order; the last one is its evaluation.

    named_task composes the config of another task by name, for ``corpus.exclude``.
    """
    task = task_stage(cfg.task, hashes)
    if cfg.model.format == "tfidf":
        return baseline_chain(cfg, task)
    folder = sources.model_folder(cfg.model)
    model: Stage | Source = Source(folder, hashes.of_model(folder))
    stages = []
    for name, settings in cfg.pretrain.items():
        text = task_text_stage(task) if settings.text == "task" else corpus_stage(cfg, named_task, hashes)
        model = Stage(
            kind="pretrain",
            label=name,
            function="adapt.stages.pretrain:pretrain",
            modules=(
                "adapt.stages.pretrain",
                "adapt.data.masking",
                target_module(cfg.pretrain_adversary),
                *_MODEL,
                *_LOOP,
            ),
            argument=settings,
            inputs={"model": model, "text": text},
            config={**without(asdict(settings), "name", "text"), "adversary": identity(cfg.pretrain_adversary)},
            more={"adversary": cfg.pretrain_adversary},
        )
        stages.append(model)
    stages.append(finetune_stage(cfg, model, task))
    stages.append(evaluate_stage(cfg, stages[-1], task, masked_lm=model))
    return stages


def task_stage(cfg: TaskConfig, hashes: sources.FileHashes) -> Stage:
    """A task's splits, known by its settings and by where its text comes from, not by its name or path."""
    from adapt.data import tasks

    return Stage(
        kind="task",
        label=cfg.name,
        function="adapt.stages.data:task",
        modules=(*_DATA, *(_PYDOC if cfg.format == "pydoc" else ())),
        argument=cfg,
        inputs={},
        config={**without(asdict(cfg), "name", "path"), "source": source_of(cfg.format, tasks.task_files(cfg), hashes)},
        by_content=True,
    )


def corpus_stage(cfg: Config, named_task: Callable[[str], TaskConfig], hashes: sources.FileHashes) -> Stage:
    """The corpus without the dev and test texts of ``corpus.exclude``, tasks that become its inputs.

    Those tasks enter whole: text that a budget leaves out of the test split today must not be trained on either.
    """
    from adapt.data import corpora

    corpus: CorpusConfig = cfg.corpus
    excluded = [cfg.task if name == cfg.task.name else named_task(name) for name in corpus.exclude]
    whole = {task.name: replace(task, max_examples=SplitSizes(None, None, None)) for task in excluded}
    files = corpora.corpus_files(corpus)
    return Stage(
        kind="corpus",
        label=corpus.name,
        function="adapt.stages.data:corpus",
        modules=(*_DATA, *(_PYDOC if corpus.format == "pydoc" else ())),
        argument=corpus,
        inputs={name: task_stage(task, hashes) for name, task in whole.items()},
        config={
            **without(asdict(corpus), "name", "path", "exclude"),
            "source": source_of(corpus.format, files, hashes),
        },
        by_content=True,
    )


def task_text_stage(task: Stage) -> Stage:
    """The task's own training texts as a corpus, its dev texts held out."""
    return Stage(
        kind="task_text",
        label=f"{task.label} text",
        function="adapt.stages.data:task_text",
        modules=_DATA,
        argument=None,
        inputs={"task": task},
        config={},
        by_content=True,
    )


def finetune_stage(cfg: Config, model: Stage | Source, task: Stage, label: str = "finetune") -> Stage:
    """A linear probe on ``model``, whose key knows no seed or adversary, or training under the run's adversary."""
    if cfg.finetune.method == "linear_probe":
        return Stage(
            kind="finetune",
            label="linear_probe",
            function="adapt.stages.baseline:linear_probe",
            modules=("adapt.stages.baseline", "adapt.prediction", *_MODEL),
            argument=cfg.finetune,
            inputs={"model": model, "task": task},
            config={key: getattr(cfg.finetune, key) for key in ("method", "max_length")},
        )
    inputs: dict[str, Stage | Source] = {"model": model, "task": task}
    if cfg.adversary.kept is not None:
        inputs["perturbations"] = perturbations_stage(cfg, cfg.adversary.kept, model, task)
    return Stage(
        kind="finetune",
        label=label,
        function="adapt.stages.finetune:finetune",
        modules=("adapt.stages.finetune", "adapt.prediction", target_module(cfg.adversary), *_MODEL, *_LOOP),
        argument=cfg.finetune,
        inputs=inputs,
        config={
            "finetune": without(asdict(cfg.finetune), "name"),
            "adversary": identity(cfg.adversary),
            "seed": cfg.seed,
        },
        more={"seed": cfg.seed, "adversary": cfg.adversary},
    )


def perturbations_stage(cfg: Config, kept: KeptConfig, model: Stage | Source, task: Stage) -> Stage:
    """What fools a model A, fine-tuned as the run's own is but under ``kept.method``: a run of that method shares A."""
    adversary = replace(cfg.adversary, name="kept", method=kept.method, kept=None)
    settings = {"max_length": cfg.finetune.max_length, "batch_size": cfg.finetune.micro_batch_size, "seed": cfg.seed}
    return Stage(
        kind="perturbations",
        label="perturbations",
        function="adapt.stages.perturbations:perturbations",
        modules=("adapt.stages.perturbations", "adapt.data.kept", "adapt.prediction", *_MODEL, *_LOOP),
        argument=kept,
        inputs={"model": finetune_stage(replace(cfg, adversary=adversary), model, task, "kept"), "task": task},
        config={**without(asdict(kept), "method"), "ball": asdict(cfg.adversary)["ball"], **settings},
        more={"ball": cfg.adversary.ball, **settings},
    )


def evaluate_stage(cfg: Config, model: Stage, task: Stage, masked_lm: Stage | Source) -> Stage:
    """Clean and attacked scores of ``model`` on the task, cut at the token limit of its fine-tuning.

    masked_lm: what fine-tuning began from; an input only where an attack on the text proposes words by it.
    """
    text = cfg.evaluate.text
    proposes = {"masked_lm": masked_lm} if text is not None and needs_masked_lm(text.recipes) else {}
    unused = ("name",) if text is not None else ("name", "text")
    return Stage(
        kind="evaluate",
        label="evaluate",
        function="adapt.stages.evaluate:evaluate",
        modules=(
            *("adapt.stages.evaluate", "adapt.prediction", *_ATTACKS, *_MODEL, *_PERTURBED),
            *(_TEXT_ATTACKS if text is not None else ()),
        ),
        argument=cfg.evaluate,
        inputs={"model": model, "task": task, **proposes},
        config={**without(asdict(cfg.evaluate), *unused), "max_length": cfg.finetune.max_length},
        more={"max_length": cfg.finetune.max_length},
    )


def baseline_chain(cfg: Config, task: Stage) -> list[Stage]:
    """TF-IDF: no encoder, no adversary, and nothing to attack in embedding space."""
    modules = ("adapt.stages.baseline", "adapt.prediction")
    fit = Stage("finetune", "tfidf", "adapt.stages.baseline:tfidf", modules, None, {"task": task}, {"method": "tfidf"})
    measure = Stage(
        "evaluate",
        "evaluate",
        "adapt.stages.baseline:evaluate_tfidf",
        modules,
        None,
        {"model": fit, "task": task},
        {"model": "tfidf"},
    )
    return [fit, measure]


def target_module(cfg: AdversaryConfig) -> str:
    """The module that defines the adversary's method: all of its ``_target_`` before the last dot."""
    return str(cfg.method["_target_"]).rpartition(".")[0]


def identity(cfg: AdversaryConfig) -> dict[str, Any]:
    """An adversary's settings without its label and its tests' exemptions."""
    return without(asdict(cfg), "name", "exempt")


def source_of(kind: str, files: list[Path], hashes: sources.FileHashes) -> str:
    """What the text comes from: the installed packages' versions, or the files' bytes."""
    if kind == "pydoc":
        from adapt.data import pydoc

        return pydoc.fingerprint()
    return hashes.of_all(files)


def without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    """A copy of the config that lacks these keys of its top level."""
    return {key: value for key, value in config.items() if key not in names}
