"""What a sweep says of itself: its place, the time that is left, and what became of it when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from adapt import results
from adapt.config import Config
from adapt.runs import grid, journal, progress

STUDY = "experiment=quickstart"


@pytest.fixture(autouse=True)
def schema() -> None:
    ConfigStore.instance().store(name="schema", node=Config)
    progress._running.clear()


def points(root: Path) -> list[tuple[str, ...]]:
    return grid.sweep([STUDY, f"runtime.root={root}"]).points


def done(root: Path, job: tuple[str, ...]) -> None:
    with journal.running(root, "quickstart", job) as note:
        note["run_id"] = "r"


def test_a_job_says_its_place_and_the_time_that_is_left(tmp_path: Path) -> None:
    first, second, *rest = points(tmp_path)
    progress.begin([STUDY, f"runtime.root={tmp_path}"])
    assert progress.place(first) == f"run 1 of {len(rest) + 2}"
    progress.finished(first, 60.0)
    said = f"run 2 of {len(rest) + 2}; about {progress.minutes(60.0 * (len(rest) + 1))} are left"
    assert progress.place(second) == f"{said}, judged by the runs that are done"
    assert progress.place(("seed=99",)) is None


def test_runs_that_were_done_before_take_no_time(tmp_path: Path) -> None:
    jobs = points(tmp_path)
    for job in jobs[1:]:
        done(tmp_path, job)
    progress.begin([STUDY, f"runtime.root={tmp_path}"])
    place = progress.place(jobs[0])
    assert place is not None and "about 0 s are left" in place
    progress.finished(jobs[1], 1000.0)  # looked up
    assert progress.place(jobs[0]) == place


def test_the_time_of_other_seeds_counts_before_that_of_other_settings() -> None:
    taken = {("a=1",): [10.0, 20.0], ("a=2",): [100.0]}
    assert progress.seconds([("a=1", "seed=3"), ("a=2", "seed=3")], taken) == 115.0
    assert progress.seconds([("a=3",)], taken) == pytest.approx(130 / 3)
    assert progress.seconds([], taken) == 0.0 and progress.seconds([("a=1",)], {}) is None


@pytest.mark.parametrize(
    "words", [["seed=0"], [STUDY, "runtime.dry_run=true"], ["--help"], ["-m", "seed=0,1", "--cfg", "job"], ["no=key"]]
)
def test_what_is_no_sweep_says_no_place(words: list[str], tmp_path: Path) -> None:
    progress.begin([*words, f"runtime.root={tmp_path}"])
    assert progress._running == [] and not (tmp_path / "grids").exists()


def test_an_interrupted_sweep_counts_its_runs(tmp_path: Path) -> None:
    jobs = points(tmp_path)
    progress.begin([STUDY, f"runtime.root={tmp_path}"])
    done(tmp_path, jobs[0])
    with pytest.raises(KeyboardInterrupt), journal.running(tmp_path, "quickstart", jobs[1]):
        raise KeyboardInterrupt
    said = progress.interrupted()
    assert said == f"interrupted: 1 of {len(jobs)} runs are done, 1 cut; the same command goes on"
    progress._running.clear()
    assert progress.interrupted() == "interrupted; the same command goes on where it stopped"


def test_a_table_counts_against_the_grid_of_the_studys_file(tmp_path: Path) -> None:
    assert results.grid(tmp_path, "quickstart") == ([], 0)
    jobs = points(tmp_path)
    progress.begin(["-m", STUDY, "seed=0,1", f"runtime.root={tmp_path}"])  # a part of the study
    for job in jobs[:-2]:
        done(tmp_path, job)
    assert results.grid(tmp_path, "quickstart") == ([" ".join(job) for job in jobs[-2:]], len(jobs))
    assert [tuple(job) for job in json.loads((tmp_path / "grids/quickstart.json").read_bytes())] == jobs


@pytest.mark.parametrize(("duration", "words"), [(40.4, "40 s"), (700, "12 min"), (12600, "3.5 h")])
def test_a_duration_in_words(duration: float, words: str) -> None:
    assert progress.minutes(duration) == words
