"""Every study of conf/experiment runs tiny, twice, on a small world of files: every value of each axis of its grid."""

from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from world import adapt, overrides

from adapt import grid, results
from adapt.config import Config

SEEDS = {"calibration": "seed=0,1"}  # whose one cell is one run a seed
ONE_RATE = "finetune.optimizer.learning_rate=1e-3"  # a tuned study has as many runs a rate, each as the others
FOLDER = Path(__file__).parents[1] / "conf" / "experiment"
STUDIES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
FEW_STEPS = [f"evaluate.attack.{key}=2" for key in ("num_steps", "minimal_norm_steps", "gradient_free_queries")]


def sweeps(study: str) -> list[list[str]]:
    """A command for each axis, whole, and the other axes at their last value: their product would be minutes."""
    ConfigStore.instance().store(name="schema", node=Config)
    points = [dict(word.split("=", 1) for word in point) for point in grid.sweep(fixed(study)).points]
    axes = {key: list(dict.fromkeys(point[key] for point in points)) for key in points[0]}
    long = [key for key, values in axes.items() if len(values) > 1]
    return [
        fixed(study) + [f"{key}={','.join(axes[key] if key == whole else axes[key][-1:])}" for key in long]
        for whole in long
    ]


def fixed(study: str) -> list[str]:
    attack = FEW_STEPS if "/evaluate: ensemble" in (FOLDER / f"{study}.yaml").read_text() else []
    return [f"experiment={study}", SEEDS.get(study, "seed=0"), "adaptation_seed=0", ONE_RATE, *attack]


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_and_the_second_time_trains_nothing(world: Path, tmp_path: Path, study: str) -> None:
    commands = [[*words, *overrides(world, tmp_path)] for words in sweeps(study)]
    for command in commands:
        first = adapt(*command, timeout=600)
        assert first.returncode == 0, first.stderr
    table = results.load(tmp_path, study)
    assert table["run_id"].nunique() > 1
    assert (table["experiment"] == study).all()
    assert "robust@" in first.stdout or "clean" in first.stdout
    stages = {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/*/*/stage.json")}
    for command in commands:
        second = adapt(*command, timeout=600)
        assert second.returncode == 0, second.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/*/*/stage.json")} == stages
    assert results.same_rows(table, results.load(tmp_path, study))
