"""What a dry run can tell of the texts without building anything: the examples, and the first texts of each source."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from adapt.chain.stage import Source, Stage
from adapt.chain.text import sources_read
from adapt.config import Config, CorpusConfig
from adapt.data import corpora, tasks
from adapt.data.tokens.reading import Read, read
from adapt.data.tokens.unknown import Gauge
from adapt.models import loading
from adapt.runs.texts import report
from adapt.table.reading import FEW, REFUSE, WARN

MOST = 1000  # texts of a source that are looked at


def foreseen(cfg: Config, last: Stage, built: Callable[[Stage], Path | None]) -> list[str]:
    """One line for each split of the task and each corpus; texts from the installed packages only once they are built.

    last: the run's evaluation. built: the folder of a stage in the store.
    """
    given: Stage | Source | None = last
    while isinstance(given, Stage):
        given = given.inputs.get("model")
    tokenizer = loading.load_tokenizer(given.folder) if given is not None else None
    gauge = Gauge(tokenizer) if tokenizer is not None else None
    task, numbers = task_of(cfg, last.inputs["task"], built)
    lines = [] if task else [f"  task={cfg.task.name} is made from the installed packages; its run counts it"]
    for split, examples in (task.splits if task else {}).items():
        texts = [example.texts for example in examples]
        read_as = looked_at(tokenizer, gauge, texts, cfg.finetune.max_length)
        lines.append(f"  {split:<10} {used(split, len(texts), numbers[split])}{read_as}")
    for name in ("corpus", "general"):
        part: CorpusConfig = getattr(cfg, name)
        remote = part.format == "hub" and not corpora.corpus_files(part, name)
        if name in sources_read(cfg) and part.format != "pydoc" and not remote:
            first: list[tuple[str, ...]] = [(text,) for text in islice(corpora.raw_texts(part, name), MOST)]
            lines.append(f"  {name:<10} {looked_at(tokenizer, gauge, first, None).removeprefix('; ')}")
    return ["The texts that it reads:", *lines]


def task_of(
    cfg: Config, stage: Stage | Source, built: Callable[[Stage], Path | None]
) -> tuple[tasks.Task | None, dict[str, int]]:
    """The run's task, and how many examples each of its splits has; None for one that takes long to make."""
    assert isinstance(stage, Stage)
    folder = built(stage)
    if folder is not None:
        return tasks.load_task(folder), report(folder)["given"]
    if cfg.task.format == "pydoc":
        return None, {}
    task = tasks.read_task(cfg.task)
    return task, {split: len(places) for split, places in task.places.items()}


def used(split: str, number: int, there: int) -> str:
    """How many examples are used: '500 of 7,320 examples (task.max_examples.train)'."""
    if number == there:
        return f"{number:,} examples"
    return f"{number:,} of {there:,} examples (task.max_examples.{split})"


def looked_at(
    tokenizer: PreTrainedTokenizerBase | None, gauge: Gauge | None, texts: list[tuple[str, ...]], length: int | None
) -> str:
    """How the first texts would be read; length: where they are cut, None for texts that are cut into several."""
    if tokenizer is None or gauge is None:
        return ""
    one: Read = read(tokenizer, texts[:MOST], length or 1, gauge)
    share = one.known.share
    said = f"; of the first {one.examples:,}: {share:.1%} unknown to the tokenizer"
    said += f", {one.truncated:,} cut at {length} tokens (finetune.max_length)" if length and one.truncated else ""
    said += f", {len(one.unread):,} with nothing that it knows" if one.unread else ""
    if share > REFUSE and one.known.tokens >= FEW:
        return f"{said} (above {REFUSE:.0%}: refused unless allow_unknown=true)"
    return said + f" (above {WARN:.0%})" * (share > WARN)
