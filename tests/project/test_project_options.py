"""Every command can use a project's own option files as well as the shipped ones."""

from __future__ import annotations

import re
from pathlib import Path

import hydra
import pytest
from command import adapt_here
from world import REPOSITORY

from adapt import status
from adapt.config import CONF, ConfigError
from adapt.project import folder, options
from adapt.runs import errors, grid, search

STUDY = """# @package _global_
defaults:
  - override /task: mine
experiment: mine
hydra:
  mode: MULTIRUN
  sweeper: {params: {seed: "0,1,2"}}
"""


@pytest.fixture
def own(project: Path) -> Path:
    """A project with a task, a study and a space of its own."""
    for group in ("task", "experiment", "tuning"):
        (project / "conf" / group).mkdir(parents=True)
    shipped = (CONF / "task" / "pydoc_topic.yaml").read_text()
    (project / "conf" / "task" / "mine.yaml").write_text(shipped.replace("name: pydoc_topic", "name: mine"))
    (project / "conf" / "experiment" / "mine.yaml").write_text(STUDY)
    (project / "conf" / "tuning" / "mine.yaml").write_text(
        "space: {finetune.dropout: {low: 0.1, high: 0.2}}\nsampler: tpe\nseed: 0\ntrials: 2\n"
    )
    return project


def test_configs_are_composed_of_both(own: Path) -> None:
    with options.composing():
        cfg = hydra.compose("config", ["experiment=mine", "adversary=fgm"])
    assert (cfg.task.name, cfg.adversary.name, cfg.experiment) == ("mine", "fgm", "mine")


def test_a_sweep_and_its_status_know_the_projects_study(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(grid.sweep(["experiment=mine"]).points) == 3
    status.main(["experiment=mine"])
    assert "mine: 3 runs" in capsys.readouterr().out


def test_status_takes_the_words_of_the_sweep_as_they_are(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status.main(["-m", "experiment=mine", "seed=0,1"])
    assert "mine: 2 runs" in capsys.readouterr().out


def test_an_option_under_another_name_than_its_files_is_refused(own: Path) -> None:
    """A copy of fgm.yaml that still says its name would stand in every table as FGM."""
    copy = own / "conf" / "adversary" / "mine.yaml"
    copy.parent.mkdir()
    copy.write_text((CONF / "adversary" / "fgm.yaml").read_text())
    with pytest.raises(ConfigError, match="mine.yaml: has name: fgm, .* must be name: mine"):
        options.names("adversary")


def test_the_command_runs_it(own: Path) -> None:
    answer = adapt_here("experiment=mine", "hydra.mode=RUN", "evaluate=clean", "runtime.dry_run=true")
    assert answer.code == 0, answer.err
    assert "Nothing was trained." in answer.out


def test_what_is_possible_includes_the_projects(own: Path) -> None:
    assert {"mine", "pydoc_topic"} <= set(options.names("task"))
    assert "did you mean mine?" in errors.missing_option("task/mime")
    answer = adapt_here("task=mime")
    assert answer.code == 1 and "task=mime: no such option; did you mean mine?" in answer.err
    with pytest.raises(ConfigError, match="--space mime: no such file; did you mean mine[?] possible: learning_rate, "):
        search.of_file("mime")
    assert search.of_file("mine").trials == 2


def test_a_list_of_a_projects_options_is_refused_like_any_other(own: Path) -> None:
    (own / "conf" / "own_group").mkdir()
    assert options.is_group("own_group") and options.is_group("task") and not options.is_group("nothing")


def test_a_shipped_name_is_refused(own: Path) -> None:
    file = own / "conf" / "task" / "csv.yaml"
    file.write_text("name: csv\n")
    said = f"{file}: adapt ships a conf/task/csv.yaml of its own; give yours another name"
    answer = adapt_here("seed=1")
    assert answer.code == 1 and answer.err.startswith(f"error: {said}")
    with pytest.raises(ConfigError, match=re.escape(said)):
        grid.sweep(["experiment=mine"])


def test_the_environment_may_name_the_project(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert options.own_conf() is None
    monkeypatch.setenv(folder.VARIABLE, str(own))
    assert options.own_conf() == own / "conf"
    assert folder.experiments() == own / "experiments"
    monkeypatch.setenv(folder.VARIABLE, "nowhere")
    with pytest.raises(ConfigError, match="ADAPT_PROJECT=.*nowhere: no such folder"):
        options.own_conf()


def test_a_checkout_is_its_own_project(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (REPOSITORY, REPOSITORY / "analysis"):
        monkeypatch.chdir(place)
        assert folder.is_checkout() and options.own_conf() is None
        assert folder.experiments() == REPOSITORY / "experiments"


def test_elsewhere_results_are_the_current_directorys(project: Path) -> None:
    assert folder.folder() == project and not folder.is_checkout()
    assert folder.experiments() == project / "experiments"
    assert options.folders() == [CONF]
