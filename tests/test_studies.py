"""Every study of conf/experiment runs twice, tiny, on a small world of files: at the two ends of its longest axis.

Every value of that axis is run by ``make test-all`` (marker ``full``).
"""

from pathlib import Path

import pytest
from command import adapt_here
from decoders import write_decoder
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from world import overrides, sentence

from adapt import results
from adapt.config import Config
from adapt.runs import grid

ConfigStore.instance().store(name="schema", node=Config)

SEEDS = {"calibration": "seed=0,1"}  # it has one cell, so one run per seed
ONE_RATE = "finetune.optimizer.learning_rate=1e-3"  # a tuned study has the same runs at each rate
FEWER = {  # of studies of many methods of training, each of which has tests of its own; all of them are marked full
    "peft_vs_full": ["peft=full,lora,prefix", "adversary=fgm"],
    "peft_vs_full_throughout": ["peft=full,ia3,bottleneck_pfeiffer"],
    "peft_vs_full_all": ["peft=full,head_only,prompt", "pretrain=[dapt]", "adversary=pgd"],
}
QUANTIZED = {"qlora", "int8_lora"}  # they need an optional package
FEW_STEPS = [f"evaluate.attack.{key}=2" for key in ("num_steps", "minimal_norm_steps", "gradient_free_queries")]
CONF = Path(__file__).parents[1] / "conf"
STUDIES = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_and_the_second_time_trains_nothing(world: Path, tmp_path: Path, study: str) -> None:
    runs_twice(study, sweep(study, FEWER.get(study, []), whole=False), world, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_with_every_value_of_its_longest_axis(world: Path, tmp_path: Path, study: str) -> None:
    runs_twice(study, sweep(study, FEWER.get(study, []), whole=True), world, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("study", FEWER)
def test_a_study_runs_with_every_method(world: Path, tmp_path: Path, study: str) -> None:
    left = [name for name in methods(study) if name not in QUANTIZED]
    runs_twice(study, sweep(study, [f"peft={','.join(left)}"], whole=True), world, tmp_path)


def test_the_study_of_all_methods_leaves_none_out() -> None:
    options = {path.stem for path in (CONF / "peft").glob("*.yaml")}
    assert set(methods("peft_vs_full_all")) == options - {"llama_adapter"}  # it works only with decoders


def methods(study: str) -> list[str]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = compose("config", [f"experiment={study}"], return_hydra_config=True).hydra
    return [name.strip() for name in settings.sweeper.params["peft"].split(",")]


def sweep(study: str, fewer: list[str], *, whole: bool) -> list[str]:
    """The longest axis, whole or at its two ends, with the others at their last value: the full grid takes minutes."""
    attack = FEW_STEPS if "/evaluate: ensemble" in (CONF / "experiment" / f"{study}.yaml").read_text() else []
    fixed = [f"experiment={study}", SEEDS.get(study, "seed=0"), "adaptation_seed=0", ONE_RATE, *attack]
    points = [dict(word.split("=", 1) for word in point) for point in grid.sweep([*fixed, *fewer]).points]
    given = {word.partition("=")[0] for word in fixed}
    axes = {key: list(dict.fromkeys(point[key] for point in points)) for key in points[0] if key not in given}
    longest = max(axes, key=lambda key: len(axes[key]), default=None)
    ends = {key: values[-1:] for key, values in axes.items()}
    if longest is not None:
        ends[longest] = axes[longest] if whole else [axes[longest][0], axes[longest][-1]]
    return [*fixed, *(f"{key}={','.join(values)}" for key, values in ends.items())]


def small(study: str, world: Path, tmp_path: Path) -> list[str]:
    """The study's model and text in the small world; a decoder for a study that generates samples."""
    given = overrides(world, tmp_path)
    if "/evaluate: samples" not in (CONF / "experiment" / f"{study}.yaml").read_text():
        return given
    decoder = write_decoder(tmp_path / "decoder", [sentence("animal", number) for number in range(20)])
    given[given.index(f"model.path={world / 'model'}")] = f"model.path={decoder}"
    short = ["evaluate.samples.prompt_words=4", "evaluate.samples.max_new_tokens=8"]
    return [*given, *short, "model.modules.attention=[q_proj,v_proj]"]


def runs_twice(study: str, sweep: list[str], world: Path, tmp_path: Path) -> None:
    """The study's command makes rows, and the second time it trains nothing and gives the same."""
    command = [*sweep, *small(study, world, tmp_path)]
    first = adapt_here(*command)
    assert first.code == 0, first.err
    table = results.load(tmp_path, study)
    assert table["run_id"].nunique() > 1
    assert (table["experiment"] == study).all()
    assert "robust@" in first.out or "clean" in first.out
    stages = {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/*/*/stage.json")}
    second = adapt_here(*command)
    assert second.code == 0, second.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/*/*/stage.json")} == stages
    assert results.same_rows(table, results.load(tmp_path, study))
