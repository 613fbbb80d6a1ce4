"""The stages that read, filter, choose and tokenise the text of a pretraining stage. Builds nothing.

The texts that ``pretrain.<stage>.text`` can name:

- ``corpus``: the run's corpus (DAPT).
- ``general``: the run's out-of-domain text (DAPT on an irrelevant domain; under ``mix``, replay).
- ``task``: the training texts of the run's task (TAPT).
- ``pool``: the task's whole training split, however few labels the budget allows, and ``task.unlabelled`` (curated
  TAPT).
- ``other_task``: the training texts of another task (transfer TAPT).

Dev and test text of the run's task is removed from all of them, unless ``leaks=keep``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from adapt.chain.finetuning import adapted
from adapt.chain.stage import Source, Stage, without
from adapt.config import PUBLISHED, Config, CorpusConfig, PretrainConfig, SelectionConfig, SplitSizes, TaskConfig
from adapt.data.masking.strategies import OF_WORDS
from adapt.store import sources

# The modules whose code decides what a stage computes: their VERSIONs are part of its key (docs/rooms.md, Keys).
FILES = ("adapt.data.files", "adapt.data.formats.delimited", "adapt.data.formats.columnar")
TASK = (
    "adapt.stages.data",
    "adapt.data.tasks",
    "adapt.data.task_files",
    "adapt.data.splits",
    *FILES,
    "adapt.data.text",
    "adapt.data.visible",
    "adapt.data.characters",
)
TASK_TEXT = (
    *("adapt.stages.data", *FILES, "adapt.data.text", "adapt.data.task_text"),
    *("adapt.data.corpora", "adapt.data.arrow", "adapt.data.leakage", "adapt.data.containment"),
    "adapt.data.characters",
)
CORPUS = (*TASK_TEXT, "adapt.data.hub", "adapt.data.spool", "adapt.data.near_duplicates", "adapt.data.visible")
PYDOC = ("adapt.data.pydoc.corpus", "adapt.data.pydoc.docstrings", "adapt.data.pydoc.sections")
PYDOC_TASK = (*PYDOC, "adapt.data.pydoc.tasks", "adapt.data.leakage", "adapt.data.containment")
SELECTION = (
    *("adapt.stages.selection", "adapt.data.selection.choose", "adapt.data.selection.dsir"),
    *("adapt.data.text", "adapt.data.characters", "adapt.data.corpora", "adapt.data.arrow"),
)
LEAKS = (
    *("adapt.stages.leaks", "adapt.data.leaks.comparison", "adapt.data.leaks.overlap", "adapt.data.containment"),
    *("adapt.data.text", "adapt.data.characters", "adapt.data.splits", "adapt.table.reading"),
)
TOKENS = (
    *("adapt.stages.tokens", "adapt.data.tokens.tokens", "adapt.data.tokens.pieces", "adapt.data.tokens.words"),
    *("adapt.data.tokens.unknown", "adapt.data.visible", "adapt.table.reading", "adapt.models.loading"),
)
READING = (
    *("adapt.stages.reading", "adapt.data.tokens.reading", "adapt.data.tokens.pieces", "adapt.data.tokens.unknown"),
    *("adapt.data.tokens.words", "adapt.data.visible", "adapt.table.reading", "adapt.models.loading"),
)


@dataclass(frozen=True)
class TextChain:
    """The text stages of one run. named_task: composes the config of another task by name, for ``corpus.exclude``."""

    cfg: Config
    named_task: Callable[[str], TaskConfig]
    hashes: sources.FileHashes

    def read(self, settings: PretrainConfig, model: Stage | Source) -> Stage:
        """The text of a pretraining stage that starts from ``model``, with the documents that its selection adds."""
        text = self.source(settings.text, settings.leaks)
        if settings.selection is None:
            return text
        return selection_stage(settings.selection, text, self.source("corpus", settings.leaks), model, self.hashes)

    def inputs(self, settings: PretrainConfig, model: Stage | Source, tokenizer: Stage | Source) -> dict[str, Stage]:
        """What a pretraining stage reads: ``text`` and, for each name of ``mix``, ``mix.<name>``, all tokenised."""
        text = self.read(settings, model)
        mixed = {f"mix.{name}": self.source(name, settings.leaks) for name in sorted(settings.mix)}
        whole_words = settings.masking.strategy in OF_WORDS
        shape: dict[str, Any] = {"max_length": settings.max_length, "packing": settings.packing, "words": whole_words}
        read = {name: tokens_stage(given, tokenizer, **shape) for name, given in {"text": text, **mixed}.items()}
        if settings.masking.strategy == "difference":
            read["anchors"] = anchors_stage(settings.masking.anchors, text, self.source("general", settings.leaks))
        return read

    def source(self, name: str, leaks: str) -> Stage:
        """The stage that makes one of the texts that ``pretrain.<stage>.text`` can name."""
        if name in ("corpus", "general"):
            stage = self.corpus(name, leaks)
        else:
            task = self.cfg.other_task if name == "other_task" else self.cfg.task
            stage = self.task_text(task, leaks, pool=name == "pool")
        # Labels must be unique within a run.
        stage.label = f"text/{name}" if leaks == "drop" else f"text/{name}/leaks kept"
        return stage

    def corpus(self, name: str, leaks: str) -> Stage:
        """The run's ``corpus`` or ``general`` text, without the dev and test texts of the tasks in its ``exclude``.

        Those tasks are inputs of the stage, and whole ones: test text that today's budget leaves out must not be
        trained on either.
        """
        from adapt.data import corpora
        from adapt.data.hub import address

        corpus: CorpusConfig = getattr(self.cfg, name)
        names = corpus.exclude if leaks == "drop" else []
        excluded = [self.cfg.task if each == self.cfg.task.name else self.named_task(each) for each in names]
        files = corpora.corpus_files(corpus, name)
        remote = corpus.format == "hub" and not files
        return Stage(
            kind="corpus",
            label=corpus.name,
            function="adapt.stages.data:corpus",
            modules=(*CORPUS, *(PYDOC if corpus.format == "pydoc" else ())),
            argument=corpus,
            inputs={
                task.name: task_stage(whole(task), self.hashes, "" if task is self.cfg.task else task.name)
                for task in excluded
            },
            config={
                **without(asdict(corpus), "name", "path", "exclude"),
                "source": address(corpus) if remote else source_of(corpus.format, files, self.hashes),
            },
            more={"key": name},
            by_content=True,
        )

    def task_text(self, task: TaskConfig, leaks: str, pool: bool) -> Stage:
        """A task's training texts as a corpus: those that the budget labels or, as a pool, all of them.

        The task's dev texts are the held-out part. ``leaks=drop`` removes text that holds a dev or test text of the
        run's task.
        """
        from adapt.data.files import find_files

        files = find_files("task.unlabelled", task.unlabelled) if pool and task.unlabelled else []
        banned = {"banned": task_stage(whole(self.cfg.task), self.hashes)} if leaks == "drop" else {}
        return Stage(
            kind="task_text",
            label=f"{task.name} {'pool' if pool else 'text'}",
            function="adapt.stages.data:task_text",
            modules=(*TASK_TEXT, "adapt.data.splits"),
            argument=task,
            inputs={
                "task": task_stage(whole(task), self.hashes, "" if task is self.cfg.task else "other_task"),
                **banned,
            },
            config={
                "train": None if pool else task.max_examples.train,
                "unlabelled": self.hashes.of_all(files) if files else None,
                "text_column": task.text_column if files else None,
                "entity_markers": task.entity_markers,
            },
            more={"pool": pool},
            by_content=True,
        )


def task_stage(cfg: TaskConfig, hashes: sources.FileHashes, prefix: str = "") -> Stage:
    """A task's splits; the key has its settings and the content of its source, not its name or path.

    prefix: of the splits in its rows; empty for the run's own task.
    """
    from adapt.data import tasks

    kind = tasks.KINDS[cfg.kind]
    files = list(dict.fromkeys(file for of_split in tasks.task_files(cfg).values() for file in of_split))
    return Stage(
        kind="task",
        label=cfg.name,
        function="adapt.stages.data:task",
        modules=(
            *(*TASK, *kind.reading),
            *((*PYDOC_TASK, *kind.reading_packages) if cfg.format == "pydoc" else ()),
        ),
        argument=cfg,
        inputs={},
        config={
            **without(asdict(cfg), "name", "path", "unlabelled", "entity_markers", *PUBLISHED),
            **{name: value for name in PUBLISHED if (value := getattr(cfg, name)) is not None},
            "source": source_of(cfg.format, files, hashes),
        },
        by_content=True,
        prefix=prefix,
    )


def selection_stage(
    cfg: SelectionConfig, query: Stage, corpus: Stage, model: Stage | Source, hashes: sources.FileHashes
) -> Stage:
    """The query's texts and the corpus documents that ``cfg`` chooses for them; a control draws as many at random."""
    space: dict[str, Stage | Source] = {}
    if cfg.method == "states":
        space = {"model": model}
    elif cfg.encoder is not None:
        folder = sources.sentence_encoder(cfg.encoder)
        space = {"encoder": Source(folder, hashes.of_model(folder))}
    chosen = Stage(
        kind="selection",
        label=f"{cfg.method} {cfg.neighbours or cfg.documents} selection",
        function="adapt.stages.selection:select",
        modules=(
            *(*SELECTION, "adapt.data.selection.neighbours", "adapt.data.selection.tfidf"),
            *(("adapt.models.loading", "adapt.models.heads", *adapted(model)) if cfg.method == "states" else ()),
        ),
        argument=cfg,
        inputs={"query": query, "corpus": corpus, **space},
        config=without(asdict(cfg), "control", "encoder", *(() if cfg.method == "dsir" else ("seed",))),
        by_content=True,
    )
    if not cfg.control:
        return chosen
    return Stage(
        kind="selection",
        label=f"random for {chosen.label}",
        function="adapt.stages.selection:random_control",
        modules=SELECTION,
        argument=cfg,
        inputs={"like": chosen, "query": query, "corpus": corpus},
        config={"control": True, "seed": cfg.seed},
        by_content=True,
    )


def anchors_stage(count: int, text: Stage, general: Stage) -> Stage:
    """The words that distinguish the text from general text."""
    return Stage(
        kind="anchors",
        label=f"{text.label} anchors",
        function="adapt.stages.anchors:anchors",
        modules=("adapt.stages.anchors", "adapt.data.masking.anchors", "adapt.data.characters"),
        argument=count,
        inputs={"text": text, "general": general},
        config={"anchors": count},
        by_content=True,
    )


def tokens_stage(
    text: Stage, tokenizer: Stage | Source, *, max_length: int, packing: bool, words: bool = False
) -> Stage:
    """The text as token ids; words: mark where words begin."""
    return Stage(
        kind="tokens",
        label=f"{text.label} tokens",
        function="adapt.stages.tokens:tokens",
        modules=TOKENS,
        argument=None,
        inputs={"text": text, "tokenizer": tokenizer},
        config={"max_length": max_length, "packing": packing, "words": words},
        more={"max_length": max_length, "packing": packing, "words": words},
        by_content=True,
        prefix=text.label,  # its rows are about the text
    )


def reading_stage(task: Stage, tokenizer: Stage | Source, max_length: int) -> Stage:
    """How many tokens of the task's texts are unknown, and how many examples are cut: rows, and nothing else."""
    return Stage(
        kind="reading",
        label=f"{task.label} as read",
        function="adapt.stages.reading:reading",
        modules=READING,
        argument=None,
        inputs={"task": task, "tokenizer": tokenizer},
        config={"max_length": max_length},
        more={"max_length": max_length},
        prefix="",
    )


def leaks_stage(cfg: Config, task: Stage, hashes: sources.FileHashes, leaky: dict[str, Stage | Source]) -> Stage:
    """The dev and test examples of ``task`` that occur in its whole training split or in ``leaky`` pretraining text."""
    return Stage(
        kind="leaks",
        label="leaks",
        function="adapt.stages.leaks:leaks",
        modules=LEAKS,
        argument=None,
        inputs={"task": task, "whole": task_stage(whole(cfg.task), hashes), **leaky},
        config={},
        by_content=True,
    )


def sources_read(cfg: Config) -> set[str]:
    """The names of all texts that the run reads, to pretrain on and to measure on."""
    measured = set(cfg.evaluate.domains.texts) if cfg.evaluate.domains else set()
    prompts = {cfg.evaluate.samples.text} if cfg.evaluate.samples else set()
    return pretraining_sources(cfg) | measured | prompts


def pretraining_sources(cfg: Config) -> set[str]:
    """The names of all texts that the run's pretraining reads."""
    stages = cfg.pretrain.values()
    chosen_from = {"corpus" for settings in stages if settings.selection is not None}
    compared = {"general" for settings in stages if settings.masking.strategy == "difference"}
    mixed = {name for settings in stages for name in settings.mix}
    return {settings.text for settings in stages} | mixed | chosen_from | compared


def whole(task: TaskConfig) -> TaskConfig:
    """The task with all its examples."""
    return replace(task, max_examples=SplitSizes(None, None, None))


def source_of(kind: str, files: list[Any], hashes: sources.FileHashes) -> str:
    """A hash of the source of a text: the versions of the installed packages, or the bytes of the files."""
    if kind == "pydoc":
        from adapt.data.pydoc import corpus as pydoc

        return pydoc.fingerprint()
    return hashes.of_all(files)
