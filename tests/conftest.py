"""Fixtures that all tests may ask for; what they are made of is in world.py."""

from pathlib import Path

import pytest
from world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, task/, other_task/, corpus.jsonl (more texts than 500) and general.jsonl."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder
