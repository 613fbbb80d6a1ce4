"""What a row says of the code that made it: its commit, and whether the sources differed from it."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapt.store import provenance, release


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Git in a repository of one source, which provenance takes for its own."""

    def run(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "adapt")
    provenance.commit_and_dirty.cache_clear()
    run("init")
    for folder in release.SOURCES:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "source.py").write_text("one = 1\n")
    run("add", ".")
    run("commit", "-m", "one")
    yield run
    provenance.commit_and_dirty.cache_clear()


@pytest.mark.parametrize("name", ["adapt/source.py", "conf/new.yaml", "pyproject.toml/source.py"])
def test_a_source_that_differs_from_its_commit_is_said(git: Callable[..., None], tmp_path: Path, name: str) -> None:
    commit, dirty = provenance.commit_and_dirty()
    assert len(commit) == 40 and not dirty
    (tmp_path / name).write_text("one = 2\n")
    provenance.commit_and_dirty.cache_clear()
    assert provenance.commit_and_dirty() == (commit, True)


def test_what_is_no_source_may_differ(git: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert not provenance.commit_and_dirty()[1]


def test_outside_of_a_repository_nothing_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "adapt")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    provenance.commit_and_dirty.cache_clear()
    assert provenance.commit_and_dirty() == ("unknown", True)
    provenance.commit_and_dirty.cache_clear()
