"""Fixtures that all tests may ask for; what they are made of is in world.py."""

from pathlib import Path

import pytest
from world import WORDS, sentence, write_jsonl, write_random_encoder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, task/ and corpus.jsonl."""
    folder = tmp_path_factory.mktemp("world")
    for split, numbers in {"train": range(48), "dev": range(100, 116), "test": range(200, 224)}.items():
        rows = [{"text": sentence(label, number), "label": label} for number in numbers for label in WORDS]
        write_jsonl(folder / "task" / f"{split}.jsonl", rows)
    texts = [sentence(label, number) for number in range(1000, 1150) for label in WORDS]
    write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in texts])
    write_random_encoder(folder / "model", texts)
    return folder
