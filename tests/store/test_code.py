"""A row is dirty only while no commit holds the sources of its stages, and then it is clean without running again."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapt.store import code, provenance, release

SOURCE = "adapt/one.py"


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Git in a repository of two sources, which the store takes for its own, with one commit."""

    def run(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        forget()
        return done.stdout.strip()

    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "adapt")
    (tmp_path / "adapt").mkdir()
    for name in ("one", "two"):
        (tmp_path / f"adapt/{name}.py").write_text(f"{name} = 1\n")
    run("init", "-q")
    run("add", ".")
    run("commit", "-qm", "first")
    yield run
    forget()


def forget() -> None:
    provenance.commit_and_dirty.cache_clear()
    code._held_by.cache_clear()


def now(folder: Path) -> code.State:
    """The state of the sources as they are."""
    forget()
    return release.blobs(folder / "adapt")


def test_a_source_has_the_hash_that_git_gives_it(git: Callable[..., str], tmp_path: Path) -> None:
    assert release.blob((tmp_path / SOURCE).read_bytes()) == git("hash-object", SOURCE)
    assert release.blob(b"a\r\nb\r\n") == release.blob(b"a\nb\n")


def test_what_the_checkout_holds_is_clean(git: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/mine.yaml").write_text("a: 1\n")  # a study of one's own, not committed
    assert code.differing(now(tmp_path)) == [] and code.commit_of(now(tmp_path)) == git("rev-parse", "HEAD")


def test_a_commit_made_later_makes_a_row_clean(git: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / SOURCE).write_text("one = 2\n")
    ran = now(tmp_path)
    name = code.keep(tmp_path / "root", ran)
    assert code.differing(ran) == [SOURCE] and code.committed(tmp_path / "root", [name]) is None
    git("commit", "-qam", "second")
    second = git("rev-parse", "HEAD")
    (tmp_path / SOURCE).write_text("one = 3\n")
    git("commit", "-qam", "third")
    assert code.committed(tmp_path / "root", [name]) == second
    git("rm", "-q", SOURCE)
    git("commit", "-qm", "removed")
    assert code.committed(tmp_path / "root", [name]) == second


def test_what_was_never_committed_stays_dirty(git: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / SOURCE).write_text("one = 2\n")
    never = code.keep(tmp_path / "root", now(tmp_path))
    (tmp_path / SOURCE).write_text("one = 3\n")
    git("commit", "-qam", "another")
    clean = code.keep(tmp_path / "root", now(tmp_path))
    assert code.committed(tmp_path / "root", [clean]) == git("rev-parse", "HEAD")
    assert code.committed(tmp_path / "root", [clean, never]) is None
    assert code.committed(tmp_path / "root", [None]) is None
    assert code.committed(tmp_path / "root", ["lost"]) is None


def test_sources_of_two_commits_are_in_no_commit(git: Callable[..., str], tmp_path: Path) -> None:
    first = now(tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"adapt/{name}.py").write_text("new = 1\n")
        git("commit", "-qam", name)
    mixed = first | {"adapt/two.py": now(tmp_path)["adapt/two.py"]}
    assert code.commit_of(mixed) is None and code.differing(mixed) == [SOURCE]


def test_an_installed_release_holds_its_own_sources(git: Callable[..., str], tmp_path: Path) -> None:
    built = release.Release("1.2", "abc", "c0ffee", dirty=False, files=now(tmp_path))
    release.write(built, tmp_path / "adapt")
    shutil.rmtree(tmp_path / ".git")
    assert code.differing(now(tmp_path)) == []
    (tmp_path / SOURCE).write_text("one = 2\n")
    assert code.differing(now(tmp_path)) == [SOURCE] and code.commit_of(now(tmp_path)) is None
    release.write(release.Release("1.2", "abc", "c0ffee", dirty=True, files=built.files), tmp_path / "adapt")
    assert code.differing(built.files) == sorted(built.files)


def test_a_state_is_that_of_the_modules_named() -> None:
    state = code.state(["adapt.store.keys", "torch.optim", "adapt.store.code"])
    assert list(state) == ["adapt/store/code.py", "adapt/store/keys.py"]
    assert state["adapt/store/code.py"] == release.blob(Path(code.__file__).read_bytes())


def test_a_package_of_the_users_is_named_with_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_own").mkdir()
    (tmp_path / "mine_own/__init__.py").write_text("")
    (tmp_path / "mine_own/gust.py").write_text("A = 1\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setenv("ADAPT_PACKAGES", "mine_own")
    importlib.invalidate_caches()
    (said,) = code.of_user(["mine_own.gust", "adapt.store.keys", "torch.optim"])
    (tmp_path / "mine_own/gust.py").write_text("A = 2\n")
    (after,) = code.of_user(["mine_own.gust"])
    assert said.startswith("mine_own.gust ") and len(said) == len("mine_own.gust ") + 12 and said != after
