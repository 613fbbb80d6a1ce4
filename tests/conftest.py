"""Fixtures that all tests may ask for; what they are made of is in world.py."""

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
    """Each training collects garbage first, which would search a million objects of torch and the tests: a third of a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


LONG = [  # files of minutes: a worker that began one of them last would end long after the other
    "data/test_pydoc.py", "test_studies.py", "runs/test_launch.py", "runs/test_faults.py", "runs/test_kill.py",
    "runs/test_launchers.py", "adversary/test_axes.py", "test_bad_input.py", "stages/test_selection.py",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, in their order; sorting is stable."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG)}
    assert all(path.exists() for path in places)
    items.sort(key=lambda item: places.get(item.path, len(places)))
