"""Every study of conf/experiment runs tiny, twice: its whole grid at one seed, on a small world of files."""

from pathlib import Path

import pytest
from world import adapt, overrides

from adapt import results

SEEDS = {"calibration": "seed=0,1"}  # whose one cell is one run a seed
ONE_RATE = "finetune.optimizer.learning_rate=1e-3"  # a tuned study has as many runs a rate, each as the others
STUDIES = sorted(path.stem for path in (Path(__file__).parents[1] / "conf" / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_and_the_second_time_trains_nothing(world: Path, tmp_path: Path, study: str) -> None:
    seeds = [SEEDS.get(study, "seed=0"), "adaptation_seed=0"]
    command = [f"experiment={study}", *overrides(world, tmp_path), *seeds, ONE_RATE]
    first = adapt(*command, timeout=600)
    assert first.returncode == 0, first.stderr
    table = results.load(tmp_path, study)
    assert table["run_id"].nunique() > 1
    assert (table["experiment"] == study).all()
    assert "robust@" in first.stdout or "clean" in first.stdout
    stages = {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/*/*/stage.json")}
    second = adapt(*command, timeout=600)
    assert second.returncode == 0, second.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/*/*/stage.json")} == stages
    assert results.same_rows(table, results.load(tmp_path, study))
