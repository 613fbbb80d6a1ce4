"""Fixtures that all tests may ask for; what they are made of is in world.py."""

from pathlib import Path

import pytest
from world import WORDS, sentence, write_jsonl, write_random_encoder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, task/, other_task/, corpus.jsonl (more texts than 500) and general.jsonl."""
    folder = tmp_path_factory.mktemp("world")
    for split, numbers in {"train": range(48), "dev": range(100, 116), "test": range(200, 224)}.items():
        rows = [{"text": sentence(label, number), "label": label} for number in numbers for label in WORDS]
        write_jsonl(folder / "task" / f"{split}.jsonl", rows)
        others = [{"text": sentence(label, number + 500), "label": label} for number in numbers for label in WORDS]
        write_jsonl(folder / "other_task" / f"{split}.jsonl", others)
    texts = [sentence(label, number) for number in range(1000, 1300) for label in WORDS]
    write_jsonl(folder / "corpus.jsonl", [{"text": text} for text in texts])
    general = [" ".join(sentence(label, number).split()[::-1]) for number in range(2000, 2100) for label in WORDS]
    write_jsonl(folder / "general.jsonl", [{"text": text} for text in general])
    write_random_encoder(folder / "model", texts[:300])
    return folder
