"""Every test that takes ``method`` runs for each option file of conf/peft except full."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapted import METHODS, write_base


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = [mark for mark in metafunc.definition.iter_markers("parametrize") if "method" in mark.args[0]]
    if "method" in metafunc.fixturenames and not chosen:
        metafunc.parametrize("method", METHODS)


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of random language models by architecture."""
    top = tmp_path_factory.mktemp("bases")
    return {kind: write_base(top / kind, kind) for kind in ("bert", "llama")}
