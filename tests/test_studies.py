"""Every study of conf/experiment runs tiny, twice: its whole grid at one seed, on a small world of files."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from world import adapt, overrides

from adapt import results
from adapt.config import Config

ConfigStore.instance().store(name="schema", node=Config)

SEEDS = {"calibration": "seed=0,1"}  # whose one cell is one run a seed
ONE_RATE = "finetune.optimizer.learning_rate=1e-3"  # a tuned study has as many runs a rate, each as the others
FEWER = {  # of studies of many methods of training, each of which has tests of its own; the whole grid is marked full
    "peft_vs_full": ["peft=full,lora,prefix", "adversary=fgm"],
    "peft_vs_full_throughout": ["peft=full,ia3,bottleneck_pfeiffer"],
    "peft_vs_full_all": ["peft=full,head_only,prompt", "pretrain=[dapt]", "adversary=pgd"],
}
QUANTIZED = {"peft_vs_full_all": {"qlora", "int8_lora"}}  # left out of the whole grid: they want an extra
CONF = Path(__file__).parents[1] / "conf"
STUDIES = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_and_the_second_time_trains_nothing(world: Path, tmp_path: Path, study: str) -> None:
    seeds = [SEEDS.get(study, "seed=0"), "adaptation_seed=0"]
    runs_twice(study, [*overrides(world, tmp_path), *seeds, ONE_RATE, *FEWER.get(study, [])], tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("study", FEWER)
def test_the_whole_grid_of_a_large_study_runs(world: Path, tmp_path: Path, study: str) -> None:
    left = [name for name in swept(study, "peft") if name not in QUANTIZED.get(study, ())]
    given = [*overrides(world, tmp_path), "adaptation_seed=0", ONE_RATE, f"peft={','.join(left)}"]
    runs_twice(study, given, tmp_path)


def test_the_study_of_all_methods_leaves_none_out() -> None:
    options = {path.stem for path in (CONF / "peft").glob("*.yaml")}
    assert set(swept("peft_vs_full_all", "peft")) == options - {"llama_adapter"}  # which serves decoders alone


def swept(study: str, key: str) -> list[str]:
    """The values that a study sweeps of a key."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = compose("config", [f"experiment={study}"], return_hydra_config=True).hydra
    return [name.strip() for name in settings.sweeper.params[key].split(",")]


def runs_twice(study: str, given: list[str], tmp_path: Path) -> None:
    """The study's command makes rows, and the second time it trains nothing and gives the same."""
    command = [f"experiment={study}", *given]
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
