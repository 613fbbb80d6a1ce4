"""Fixtures for all tests, built from world.py."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, task/, other_task/, corpus.jsonl (more texts than 500) and general.jsonl."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.fixture(autouse=True, scope="module")
def _imports_are_no_garbage() -> Iterator[None]:
    """A training collects garbage before it begins: a third of a second if it searched what torch and the tests are."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


LONG = [  # files of half a minute or more: a worker that began one of them last would end long after the other
    "runs/test_launch.py", "test_studies.py", "adversary/test_axes.py", "runs/test_faults.py", "data/test_pydoc.py",
    "runs/test_launchers.py", "runs/test_kill.py", "stages/test_selective.py", "adversary/test_properties.py",
    "adapters/test_chain.py", "test_bad_input.py", "test_tune.py",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, in their order; sorting is stable."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    assert all(path.exists() for path in places)
    items.sort(key=lambda item: places.get(item.path, len(places)))
