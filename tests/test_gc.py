"""adapt gc lists and removes the stages that no run needs, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from filelock import FileLock
from world import pipeline

from adapt import gc, results
from adapt.runs import journal
from adapt.store.entries import lock_of


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with rows, a second one whose rows were removed, and a stage that was cut."""
    root = tmp_path_factory.mktemp("gc")
    keeps, loses = (pipeline(world, root, "pretrain=[dapt]", "evaluate=clean", f"seed={seed}").run() for seed in (0, 1))
    (root / "runs" / f"{loses}.json").unlink()
    cut = root / "store" / "pretrain" / f".{'a' * 32}.unfinished"
    (cut / "checkpoint").mkdir(parents=True)
    (cut / "checkpoint" / "state.safetensors").write_bytes(bytes(3_000_000))
    assert results.evaluation(root, keeps).exists()
    return root


def names(root: Path, *flags: str, capsys: pytest.CaptureFixture) -> list[str]:
    gc.main(["--root", str(root), *flags])
    return [line.split("days  ")[1].split("/")[0] for line in capsys.readouterr().out.splitlines()[:-1]]


def test_what_a_run_shares_is_needed_and_the_rest_is_listed(finished: Path, capsys: pytest.CaptureFixture) -> None:
    before = sorted(finished.rglob("*"))
    assert names(finished, capsys=capsys)[0] == "pretrain"  # the largest first
    assert sorted(names(finished, capsys=capsys)) == ["evaluate", "finetune", "pretrain"]
    assert names(finished, "--megabytes", "2.5", capsys=capsys) == ["pretrain"]
    assert names(finished, "--days", "1", capsys=capsys) == []
    assert sorted(finished.rglob("*")) == before  # without --delete nothing is removed


def test_age_is_that_of_the_newest_file(finished: Path, capsys: pytest.CaptureFixture) -> None:
    state = next(finished.glob("store/pretrain/.*/checkpoint/*"))
    os.utime(state, (time.time() - 3 * 86400,) * 2)
    assert names(finished, "--days", "2", capsys=capsys) == ["pretrain"]


def test_what_is_being_built_stays(finished: Path, capsys: pytest.CaptureFixture) -> None:
    cut = next(finished.glob("store/pretrain/.*.unfinished"))
    with FileLock(lock_of(cut.with_name("a" * 32))):
        gc.main(["--root", str(finished), "--megabytes", "2.5", "--delete"])
    assert "in use, kept" in (said := capsys.readouterr().out) and "0.0 MB removed" in said and cut.exists()


def test_nothing_goes_while_a_job_runs(finished: Path) -> None:
    with journal.running(finished, "study", ("seed=0",)) as note:
        with pytest.raises(SystemExit, match=f"1 jobs run under .*process {os.getpid()} on "):
            gc.main(["--root", str(finished), "--delete"])
        note["run_id"] = "r"
    assert list(finished.glob("store/pretrain/.*.unfinished"))


def test_afterwards_the_run_is_whole_and_trains_nothing(world: Path, finished: Path) -> None:
    table = results.load(finished)
    gc.main(["--root", str(finished), "--delete"])
    assert not list(finished.glob("store/pretrain/.*.unfinished"))
    stages = {path: path.stat().st_mtime_ns for path in finished.glob("store/*/*/stage.json")}
    assert len([path for path in stages if "finetune" in str(path)]) == 1
    pipeline(world, finished, "pretrain=[dapt]", "evaluate=clean", "seed=0").run()
    assert {path: path.stat().st_mtime_ns for path in finished.glob("store/*/*/stage.json")} == stages
    assert results.same_rows(table, results.load(finished))


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no store"):
        gc.main(["--root", str(tmp_path)])
