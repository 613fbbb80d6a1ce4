"""The data stages: a task, a corpus, and a task's own text as a corpus. Their content hash is their identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt.config import CorpusConfig, RuntimeConfig, TaskConfig
from adapt.data import corpora, tasks

VERSION = 1


def task(cfg: TaskConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Read a task from its files or packages and write its splits."""
    tasks.write_task(tasks.read_task(cfg), out)
    return []


def corpus(cfg: CorpusConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """Read a corpus without the dev and test texts of the task folders among its inputs."""
    banned = [
        text
        for folder in inputs.values()
        for split, examples in tasks.load_task(folder).splits.items()
        if split != "train"
        for example in examples
        for text in example.texts
    ]
    corpora.write_corpus(corpora.read_corpus(cfg, banned), out)
    return []


def task_text(cfg: dict[str, Any], inputs: dict[str, Path], out: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """The distinct training texts of a task as a corpus; its dev texts are the held-out text."""
    splits = tasks.load_task(inputs["task"]).splits
    train = list(dict.fromkeys(text for example in splits["train"] for text in example.texts))
    seen = set(train)
    heldout = list(dict.fromkeys(text for example in splits["dev"] for text in example.texts if text not in seen))
    corpora.write_corpus(corpora.Corpus(train=train, heldout=heldout, dropped={}), out)
    return []
