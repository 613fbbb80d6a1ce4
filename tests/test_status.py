"""A study's status from the records of its jobs, written by hand and by the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import adapt_here
from hydra.core.config_store import ConfigStore
from world import REPOSITORY, overrides

from adapt import results
from adapt.config import Config
from adapt.runs import grid, journal
from adapt.runs.grid import without_seeds
from adapt.runs.progress import status
from adapt.status import describe

DONE_JOB, FAILED_JOB, CUT_JOB, MISSING_JOB = (("pretrain=[]", f"seed={seed}") for seed in range(4))
GRID = [DONE_JOB, FAILED_JOB, CUT_JOB, MISSING_JOB]


@pytest.fixture(autouse=True)
def schema() -> None:
    ConfigStore.instance().store(name="schema", node=Config)


def finish(root: Path, job: tuple[str, ...], run_id: str = "r") -> None:
    with journal.running(root, "study", job) as note:
        note["run_id"] = run_id


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One job of each kind."""
    finish(tmp_path, DONE_JOB)
    journal.failed(tmp_path, "study", FAILED_JOB, "Traceback\n  line\nValueError: the loss is nan\n")
    with pytest.raises(KeyboardInterrupt), journal.running(tmp_path, "study", CUT_JOB):
        raise KeyboardInterrupt
    return tmp_path


def test_each_job_is_in_its_state(root: Path) -> None:
    assert [state for _, state, _ in status(root, "study", GRID).jobs] == ["done", "failed", "cut", "missing"]
    with journal.running(root, "study", MISSING_JOB) as note:
        assert status(root, "study", GRID).jobs[3][1] == "running"
        note["run_id"] = "s"
    assert status(root, "study", GRID).jobs[3][1] == "done"


def test_it_says_what_there_is_to_know(root: Path) -> None:
    text = describe(status(root, "study", GRID), 10)
    assert text.startswith("study: 4 runs (pretrain=[])")
    assert "failed: seed=1: ValueError: the loss is nan" in text
    assert "cut, goes on from its last checkpoint: seed=2" in text and "missing: seed=3" in text
    assert "3 runs are left, about 0 minutes" in text
    fewer = describe(status(root, "study", GRID[:1]), 10)
    assert fewer.endswith("Nothing is left to run.") and "missing:" not in fewer
    many = [("pretrain=[]", f"seed={seed}") for seed in range(3, 40)]
    assert "missing: 27 more (--all names them)" in describe(status(root, "study", many), 10)
    assert "1 more done runs of this study are not in this grid" in describe(status(root, "study", many), 10)


def test_a_success_takes_the_place_of_a_failure_and_a_look_up_changes_nothing(root: Path) -> None:
    assert results.failed(root)["error"].tolist() == ["ValueError: the loss is nan"]
    finish(root, FAILED_JOB)
    assert results.failed(root).empty
    before = {path: path.read_bytes() for path in root.glob("jobs/study/*.json")}
    finish(root, DONE_JOB)
    assert before == {path: path.read_bytes() for path in root.glob("jobs/study/*.json")}
    finish(root, DONE_JOB, "another")  # as after a change of the code, which gives another run
    assert journal.of_study(root, "study")[DONE_JOB]["run_id"] == "another"


def test_a_broken_record_is_no_record(root: Path) -> None:
    for path in root.glob("jobs/study/*.json"):
        path.write_text('{"experiment": "stu')
    assert {state for _, state, _ in status(root, "study", GRID).jobs} == {"missing"}
    finish(root, DONE_JOB)
    assert status(root, "study", GRID).jobs[0][1] == "done"


def test_a_job_that_another_process_runs_is_left_its_record(root: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom adapt.runs import journal\n"
        f"with journal.running(Path({str(root)!r}), 'study', {MISSING_JOB!r}):\n"
        "    print('up', flush=True)\n    sys.stdin.read()\n    raise SystemExit"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == b"up\n"
    with journal.running(root, "study", MISSING_JOB) as note:
        note["run_id"] = "s"
    record = journal.of_study(root, "study")[MISSING_JOB]
    assert (record["state"], record["pid"]) == ("running", other.pid) != ("running", os.getpid())
    other.kill()
    other.wait()
    assert journal.of_study(root, "study")[MISSING_JOB]["state"] == "cut"


def test_seeds_do_not_tell_settings_apart() -> None:
    assert without_seeds(("a.seed=1", "adaptation_seed=2", "pretrain=[]", "seed=3", "seeded=4")) == (
        "pretrain=[]",
        "seeded=4",
    )


@pytest.mark.parametrize(
    ("words", "count", "first"),
    [
        (["experiment=quickstart"], 72, {"adversary=none", "experiment=quickstart", "pretrain=[]", "seed=0"}),
        (["experiment=quickstart", "seed=0,1", "runtime.threads=1"], 24, {"seed=0", "experiment=quickstart"}),
        (["seed=range(0,3)", "adversary=none,fgm"], 6, {"seed=0", "adversary=none"}),
        (["seed=0,1", "hydra/launcher=processes", "hydra.launcher.n_jobs=2"], 2, {"seed=0"}),
        (["seed=3"], 1, {"seed=3"}),
    ],
)
def test_a_grid_is_that_of_the_command(words: list[str], count: int, first: set[str]) -> None:
    sweep = grid.sweep(words)
    assert len(sweep.points) == len(set(sweep.points)) == count and first <= set(sweep.points[0])
    assert not any(word.startswith(("runtime.", "hydra")) for word in sweep.points[0])
    assert sweep.root == Path("outputs") and sweep.study == ("quickstart" if "quickstart" in words[0] else "adhoc")


def test_what_was_typed_is_what_the_grid_says() -> None:
    assert grid.canonical(["seed=3", "runtime.threads=2", "finetune.optimizer.learning_rate=1e-3"]) == (
        "finetune.optimizer.learning_rate=0.001",
        "seed=3",
    )


def test_a_sweep_leaves_what_status_reads(world: Path, tmp_path: Path) -> None:
    words = [*overrides(world, tmp_path), "evaluate=clean", "finetune.optimizer.learning_rate=1e-3,1e30"]
    answer = adapt_here("-m", *words, "seed=0,1")
    assert answer.code == 1
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "adapt.status", *words, "seed=0,1,2"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    assert said.returncode == 0, said.stderr
    for state, count in (("done", 2), ("failed", 2), ("running", 0), ("cut", 0), ("missing", 2)):
        assert f"  {state:<8} {count}\n" in said.stdout
    assert said.stdout.count("the loss is nan; ") == 2 and "4 runs are left" in said.stdout


def test_a_wrong_word_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adapt.status", "experiment=quickstrat"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert said.returncode == 1 and "experiment=quickstrat: no such option" in said.stderr
