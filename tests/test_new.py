"""``adapt new`` writes skeletons that run as they are, and overwrites nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import adapt_here
from world import overrides, pipeline

from adapt import new
from adapt.project import folder, packages
from adapt.runs import grid
from adapt.store import keys


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty."""
    place = tmp_path / "windy"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv(packages.VARIABLE, "")
    return place


def test_a_study_has_a_grid_and_a_page(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new.main(["study", "mine"])
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "Run it: adapt experiment=mine"
    assert f"wrote {project}/conf/experiment/mine.yaml" in out
    assert len(grid.sweep(["experiment=mine"]).points) == 8
    page = (project / "experiments" / "mine" / "README.md").read_text()
    assert re.findall("^## (.*)$", page, re.MULTILINE) == ["Question", "Command", "Cost", "Expected", "Found"]


def test_a_study_runs_at_once(project: Path, world: Path, tmp_path: Path) -> None:
    new.main(["study", "mine"])
    words = [word for word in overrides(world, tmp_path / "root") if not word.startswith("budget=")]
    answer = adapt_here("experiment=mine", *words, "seed=0", "adversary=fgm")
    assert answer.code == 0, answer.err
    assert "2 runs," in answer.out and "adapt table mine --root " in answer.out


def test_an_adversary_of_a_project_trains_under_a_package_that_the_user_names(
    project: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new.main(["adversary", "gust"])
    assert "Run it: adapt --packages windy budget=smoke adversary=gust\n" in capsys.readouterr().out
    assert sorted(path.name for path in (project / "windy").iterdir()) == ["__init__.py", "gust.py"]
    monkeypatch.setattr("sys.path", [place for place in __import__("sys").path if place])
    monkeypatch.setenv(packages.VARIABLE, "windy")
    assert pipeline(world, tmp_path / "root", "evaluate=clean", "adversary=gust").run()
    keys.source_version.cache_clear()


def test_an_adversary_of_adapt_is_one_of_its_sources(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folder, "CHECKOUT", project)
    new.main(["adversary", "gust"])
    assert "Run it: adapt budget=smoke adversary=gust\n" in capsys.readouterr().out
    source = (project / "adapt" / "adversary" / "gust.py").read_text()
    assert '\nKEY_NAME = "adversary.gust"\nVERSION = 1\n' in source
    assert "_target_: adapt.adversary.gust.gust" in (project / "conf" / "adversary" / "gust.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study", "../mine"], "error: ../mine: cannot name a study"),
        (["study", "null"], "error: null: cannot name a study"),
        (["study", "1"], "error: 1: cannot name a study"),
        (["study", "quickstart"], "error: quickstart: exists already: "),
        (["study", "mine", "--package", "windy"], "error: --package: a study has no package"),
        (["adversary", "Gust"], "error: Gust: cannot name an adversary"),
        (["adversary", "lambda"], "error: lambda: cannot name an adversary"),
        (["adversary", "a.b"], "error: a.b: cannot name an adversary"),
        (["adversary", "fgm"], "error: fgm: exists already: "),
        (["adversary", "gust", "--package", "numpy"], "error: numpy: is the name of an installed package"),
        (["adversary", "gust", "--package", "a-b"], "error: a-b: cannot name a Python package"),
    ],
)
def test_bad_names_get_one_error_and_nothing_is_written(project: Path, words: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as end:
        new.main(words)
    assert str(end.value).startswith(said) and "\n" not in str(end.value)
    assert list(project.iterdir()) == []


def test_nothing_is_overwritten(project: Path) -> None:
    page = project / "experiments" / "mine" / "README.md"
    page.parent.mkdir(parents=True)
    page.write_text("found")
    with pytest.raises(SystemExit, match="README.md: exists already; nothing was written"):
        new.main(["study", "mine"])
    assert page.read_text() == "found" and not (project / "conf").exists()


def test_the_package_is_the_projects_or_the_one_that_is_chosen(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("storms", "calms"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text("")
    with pytest.raises(SystemExit, match="several packages are possible .calms, storms.; choose with --package"):
        new.main(["adversary", "gust"])
    new.main(["adversary", "gust", "--package", "calms"])
    monkeypatch.setenv(packages.VARIABLE, "storms")
    new.main(["adversary", "squall"])
    assert (project / "calms" / "gust.py").exists() and (project / "storms" / "squall.py").exists()
