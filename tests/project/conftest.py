"""A user's project: a folder of theirs, in which the test runs."""

import sys
from pathlib import Path

import pytest

from adapt.project import packages
from adapt.store import keys

GUST = '''"""Imported only where it trains."""

from .helpers import HALF

PERTURBS = False


def gust(step, *, weight: float):
    for view in step:
        yield weight * HALF * view.loss()
'''
OPTION = """name: gust
method: {_target_: TARGET, _partial_: true, weight: 1.0}
ball: null
dropout: same
float32: false
length: 1
exempt: {}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty; the environment and Python's path are put back afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.setenv(packages.VARIABLE, "")
    keys.source_version.cache_clear()
    return folder


@pytest.fixture
def package(project: Path) -> str:
    """The name of a package in the project, in which lies an adversary, gust.py; conf/adversary/gust.yaml names it."""
    name = f"own_{abs(hash(project)) % 10**8}"  # what is imported stays imported: no two tests share a name
    (project / name).mkdir()
    (project / name / "__init__.py").write_text("")
    (project / name / "gust.py").write_text(GUST)
    (project / name / "helpers.py").write_text("HALF = 0.5\n")
    (project / "conf" / "adversary").mkdir(parents=True)
    (project / "conf" / "adversary" / "gust.yaml").write_text(OPTION.replace("TARGET", f"{name}.gust.gust"))
    return name
