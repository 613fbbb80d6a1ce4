"""What an installed adapt says of where its numbers come from: its release's commit, unless it was edited."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from adapt.store import provenance, release


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree: a package, its option files, pyproject.toml."""
    root = tmp_path / "tree"
    (root / "adapt" / "store").mkdir(parents=True)
    (root / "conf" / "budget").mkdir(parents=True)
    (root / "adapt" / "store" / "a.py").write_text("A = 1\n")
    (root / "conf" / "budget" / "smoke.yaml").write_text("a: 1\n")
    (root / "pyproject.toml").write_text("")
    return root


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def committed(root: Path) -> str:
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return git(root, "rev-parse", "HEAD")


def test_the_hash_sees_sources_and_option_files_and_nothing_else(tree: Path) -> None:
    def now() -> str:
        return release.source_hash(tree / "adapt", tree / "conf")

    first = now()
    (tree / "adapt" / "store" / "a.pyc").write_text("")
    (tree / "adapt" / release.FILE).write_text("")
    assert now() == first
    (tree / "conf").rename(tree / "adapt" / "conf")  # where a wheel has it
    assert release.source_hash(tree / "adapt", tree / "adapt" / "conf") == first
    (tree / "adapt" / "conf").rename(tree / "conf")
    for path in (tree / "adapt" / "store" / "a.py", tree / "conf" / "budget" / "smoke.yaml"):
        text = path.read_text()
        path.write_text(text + "# edited\n")
        assert now() != first
        path.write_text(text)
    (tree / "adapt" / "store" / "b.py").write_text("")
    assert now() != first


def test_a_build_knows_its_commit_and_whether_the_tree_was_dirty(tree: Path) -> None:
    commit = committed(tree)
    built = release.of_tree(tree, "1.2")
    assert (built.version, built.commit, built.dirty) == ("1.2", commit, False)
    (tree / "adapt" / "store" / "a.py").write_text("A = 2\n")
    assert release.of_tree(tree, "1.2").dirty


def test_a_build_of_an_sdist_has_its_commit_until_it_is_edited(tree: Path) -> None:
    built = replace(release.of_tree(tree, "1.2"), commit="abc")
    release.write(built, tree / "adapt")
    git(tree.parent, "init", "-q")  # unpacked somewhere in another repository
    git(tree.parent, "commit", "-q", "--allow-empty", "-m", "another")
    assert release.of_tree(tree, "1.2") == built
    (tree / "adapt" / "store" / "a.py").write_text("A = 2\n")
    edited = release.of_tree(tree, "1.2")
    assert edited.commit is None and edited.dirty
    release.write(replace(built, dirty=True), tree / "adapt")
    (tree / "adapt" / "store" / "a.py").write_text("A = 1\n")
    assert release.of_tree(tree, "1.2").dirty


def test_a_build_of_a_tree_without_either_is_known_by_its_hash(tree: Path) -> None:
    built = release.of_tree(tree, "1.2")
    assert built.commit is None and not built.dirty


def test_an_installed_package_is_clean_until_it_is_edited(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", tree / "adapt")
    monkeypatch.setattr(provenance, "CONF", tree / "conf")
    built = replace(release.of_tree(tree, "1.2"), commit="abc")
    nameless = replace(built, commit=None)
    assert provenance.of_release(built) == ("abc", False)
    assert provenance.of_release(replace(built, dirty=True)) == ("abc", True)
    assert provenance.of_release(nameless) == (f"{built.hash[:12]} adapt-1.2", False)
    release.write(built, tree / "adapt")
    provenance.commit_and_dirty.cache_clear()
    assert provenance.commit_and_dirty() == ("abc", False)
    (tree / "conf" / "budget" / "smoke.yaml").write_text("a: 2\n")
    name, dirty = provenance.of_release(built)
    assert dirty and name != f"{built.hash[:12]} adapt-1.2" and name.endswith(" adapt-1.2")
    provenance.commit_and_dirty.cache_clear()


def test_a_checkout_asks_git(monkeypatch: pytest.MonkeyPatch) -> None:
    assert release.read(provenance.PACKAGE) is None
    provenance.commit_and_dirty.cache_clear()
    assert provenance.commit_and_dirty()[0] == (release.git(provenance.PACKAGE, "rev-parse", "HEAD") or "unknown")
