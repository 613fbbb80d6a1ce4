from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapt.config import CorpusConfig, SplitSizes, TaskConfig
from adapt.data.pydoc import corpus, tasks


@pytest.fixture(scope="session")
def passages() -> dict[str, list[str]]:
    """Both embedded corpora, read once per session: it takes half a minute."""
    return {domain: corpus.corpus(domain) for domain in corpus.DOMAINS}


@pytest.fixture(scope="session")
def questions() -> dict[str, dict[str, list[tasks.Labelled]]]:
    return {question: tasks.task(question) for question in tasks.QUESTIONS}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write a file in tmp_path: bytes or text as they are, a list as JSON lines."""

    def write(name: str, content: Any) -> Path:
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


@pytest.fixture
def task_config(tmp_path: Path) -> Callable[..., TaskConfig]:
    def config(**changes: Any) -> TaskConfig:
        values = {
            "name": "mine",
            "format": "jsonl",
            "path": str(tmp_path),
            "question": None,
            "unlabelled": None,
            "entity_markers": "keep",
            "text_column": "text",
            "text_pair_column": None,
            "label_column": "label",
            "metric": "macro_f1",
            "num_classes": None,
            "max_examples": SplitSizes(None, None, None),
        }
        return TaskConfig(**{**values, **changes})

    return config


@pytest.fixture
def corpus_config(tmp_path: Path) -> Callable[..., CorpusConfig]:
    def config(**changes: Any) -> CorpusConfig:
        values = {
            "name": "mine",
            "format": "files",
            "path": str(tmp_path),
            "domain": None,
            "subset": None,
            "split": None,
            "revision": None,
            "text_column": "text",
            "min_words": 1,
            "heldout_fraction": 0.2,
            "max_documents": None,
            "near_duplicates": None,
            "exclude": [],
        }
        return CorpusConfig(**{**values, **changes})

    return config
