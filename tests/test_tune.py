"""Tuning by search: the same trials after any end, equal budgets, and refusals before anything is trained."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from world import REPOSITORY, overrides

from adapt import results, tune
from adapt.config import Config, ConfigError
from adapt.runs import journal, pipeline, search
from adapt.runs.errors import readable
from adapt.runs.search import Search
from analysis import tuning

RATE = tuning.LEARNING_RATE
SPACE = {RATE: {"low": 1e-4, "high": 1e-2, "log": True}}


@pytest.fixture(autouse=True)
def schema() -> None:
    ConfigStore.instance().store(name="schema", node=Config)


def words(world: Path, root: Path) -> list[str]:
    return [*overrides(world, root), "evaluate=clean", "adversary=none,fgm", "seed=0,1"]


def trained(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.glob("store/finetune/*/stage.json")}


def settings(tried: dict) -> list[list[float]]:
    return [[trial.setting[RATE] for trial in trials] for trials in tried.values()]


@pytest.fixture(scope="module")
def tuned(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Two arms x three trials x two seeds."""
    ConfigStore.instance().store(name="schema", node=Config)
    root = tmp_path_factory.mktemp("tuned")
    return root, tune.tune(words(world, root), Search(SPACE, "tpe", 0, 3))


def test_each_arm_has_its_budget_and_its_trials_are_rows(tuned: tuple[Path, dict]) -> None:
    root, tried = tuned
    assert [len(rates) for rates in settings(tried)] == [3, 3]
    assert settings(tried)[0] == settings(tried)[1]  # the first, random trials are the same for all arms
    assert all(rate == float(f"{rate:.3g}") and 1e-4 <= rate <= 1e-2 for rate in settings(tried)[0])
    table = results.load(root, "adhoc")
    assert set(table[results.TUNING]) == {"3 trials of tpe, seed 0, over " + RATE + " 0.0001 to 0.01 (log)"}
    assert table.groupby("adversary")[RATE].agg(lambda rates: sorted(set(rates))).tolist() == [
        sorted(rates) for rates in reversed(settings(tried))
    ]
    dev = table[(table["split"] == "dev") & (table["metric"] == table["task.metric"])]
    means = dev.groupby(["adversary", RATE])["value"].mean()
    for arm, trials in tried.items():
        name = next(word for word in arm if word.startswith("adversary=")).partition("=")[2]
        assert [trial.dev for trial in trials] == pytest.approx([means[name, t.setting[RATE]] for t in trials])
    best = {arm: -min((-t.dev, t.setting[RATE]) for t in trials)[0] for arm, trials in tried.items()}
    assert tuning.chosen(table).choices["dev"].tolist() == pytest.approx(list(best.values()))
    assert [line.split()[:3] for line in tune.describe(tried).splitlines()[1:]] == [
        ["adversary=none", "3", "0"],
        ["adversary=fgm", "3", "0"],
    ]


def test_again_it_looks_up_and_trains_nothing(world: Path, tuned: tuple[Path, dict]) -> None:
    root, tried = tuned
    before, table = trained(root), results.load(root, "adhoc")
    assert tune.tune(words(world, root), Search(SPACE, "tpe", 0, 3)) == tried
    assert trained(root) == before and results.same_rows(results.load(root, "adhoc"), table)


def test_a_killed_one_goes_on_with_the_same_trials(
    world: Path, tmp_path: Path, tuned: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, started = tune.run, []

    def killed_in_the_fourth_run(given: list[str], cfg: Config) -> str:
        started.append(given)
        if len(started) == 4:
            raise KeyboardInterrupt
        return run(given, cfg)

    monkeypatch.setattr(tune, "run", killed_in_the_fourth_run)
    with pytest.raises(KeyboardInterrupt):
        tune.tune(words(world, tmp_path), Search(SPACE, "tpe", 0, 3))
    table = results.load(tmp_path, "adhoc")
    assert table["run_id"].nunique() == 3 and results.TUNING not in table.columns
    before = trained(tmp_path)
    tried = tune.tune(words(world, tmp_path), Search(SPACE, "tpe", 0, 3))
    assert {path: time for path, time in trained(tmp_path).items() if path in before} == before
    assert settings(tried) == settings(tuned[1])
    whole = results.load(tuned[0], "adhoc")
    assert [t.dev for trials in tried.values() for t in trials] == [t.dev for ts in tuned[1].values() for t in ts]
    resumed = results.load(tmp_path, "adhoc")
    assert results.same_rows(*(t.drop(columns=["commit", "dirty"]) for t in (resumed, whole)))
    assert len(trained(tmp_path)) == 12


def test_a_loss_that_is_not_finite_fails_the_trial_and_counts(world: Path, tmp_path: Path) -> None:
    choices = {RATE: {"choices": [1e-3, 1e30]}}
    given = [*overrides(world, tmp_path), "evaluate=clean", "adversary=none", "seed=0"]
    ((arm, trials),) = tune.tune(given, Search(choices, "grid", 0, 2)).items()
    assert sorted((trial.setting[RATE], trial.dev is None) for trial in trials) == [(1e-3, False), (1e30, True)]
    assert tune.describe({arm: trials}).splitlines()[1].split()[-4:-1] == ["2", "1", f"{RATE}=0.001"]
    assert results.load(tmp_path, "adhoc")["run_id"].nunique() == 1
    (failed,) = [job for job in journal.of_study(tmp_path, "adhoc").values() if job["state"] == "failed"]
    assert f"{RATE}=1e+30" in failed["overrides"]


def test_any_other_error_ends_it(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.Pipeline, "run", lambda self: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(OSError, match="no network"):
        tune.tune(words(world, tmp_path), Search(SPACE, "tpe", 0, 3))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"finetune.optimizer.learning_rat": {"low": 1, "high": 2}}, "no such key; did you mean learning_rate"),
        ({RATE: {"low": 1e-2, "high": 1e-2}}, "low=0.01 must be less than high=0.01"),
        ({RATE: {"low": 0, "high": 1, "log": True}}, "low=0: must be more than 0 where log is true"),
        ({RATE: {"low": "a", "high": 1}}, "low=a: must be a finite number"),
        ({RATE: {"min": 0}}, r"possible are {low, high, log} and {choices"),
        ({RATE: {"choices": []}}, "possible are"),
        ({RATE: {"low": -1.0, "high": 1.0}}, "learning_rate=-1.0: must be 0 or more"),
        ({"adversary.name": {"choices": ["x"]}, "seed": {"choices": [1]}}, "seed is both given"),
        ({}, "must name at least one key"),
    ],
)
def test_a_wrong_space_is_refused_before_training(world: Path, tmp_path: Path, space: dict, message: str) -> None:
    with pytest.raises(Exception) as error:
        tune.tune(words(world, tmp_path), Search(space, "tpe", 0, 3))
    assert re.search(message, readable(error.value)), readable(error.value)
    assert not (tmp_path / "store").exists()


def test_budgets_and_samplers_are_checked() -> None:
    with pytest.raises(ConfigError, match="trials=0: must be 1 or more"):
        Search(SPACE, "tpe", 0, 0)
    with pytest.raises(ConfigError, match="sampler=tp: did you mean tpe"):
        Search(SPACE, "tp", 0, 3)
    with pytest.raises(ConfigError, match="sampler=grid: .* has no choices"):
        Search(SPACE, "grid", 0, 3)
    with pytest.raises(ConfigError, match="trials=3: sampler=grid has 2 settings"):
        Search({RATE: {"choices": [1, 2]}}, "grid", 0, 3)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_trials_follow_from_the_seed_and_the_scores(sampler: str) -> None:
    def rates(seed: int, trials: int = 9, sign: int = 1) -> list[float]:
        proposed: list[float] = []
        for proposal in Search(SPACE, sampler, seed, trials).proposals():
            proposed.append(proposal.setting[RATE])
            proposal.tell(None if len(proposed) == 2 else sign * proposed[-1])
        return proposed

    assert rates(0) == rates(0) != rates(1)
    assert rates(0, trials=12)[:9] == rates(0)  # a larger budget continues a smaller one
    assert (rates(0, sign=-1) == rates(0)) == (sampler == "random")


def test_a_whole_number_stays_one_and_a_grid_has_each_choice() -> None:
    space = {"finetune.epochs": {"low": 1, "high": 8}, RATE: {"choices": [1e-3, 1e-4]}}
    for proposal in Search(space, "random", 0, 4).proposals():
        assert isinstance(proposal.setting["finetune.epochs"], int) and proposal.setting[RATE] in (1e-3, 1e-4)
        proposal.tell(0.0)
    grid = Search({RATE: {"choices": [1e-3, 1e-4]}, "finetune.epochs": {"choices": [1, 2]}}, "grid", 0, 4)
    points = []
    for proposal in grid.proposals():
        points.append(tuple(proposal.setting.values()))
        proposal.tell(0.0)
    assert sorted(points) == [(1e-4, 1), (1e-4, 2), (1e-3, 1), (1e-3, 2)]


def test_files_and_the_missing_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert search.of_file("learning_rate", trials=3).trials == 3
    with pytest.raises(ConfigError, match="--space rate: no such file; .*learning_rate"):
        search.of_file("rate")
    (tmp_path / "s.yaml").write_text("space: {}\nsampler: tpe\nseed: 0\nbudget: 3\n")
    with pytest.raises(ConfigError, match="budget: no such key"):
        search.of_file(str(tmp_path / "s.yaml"))
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install adapt\[tuning\]"):
        next(Search(SPACE, "tpe", 0, 3).proposals())


def test_the_command_says_what_it_does() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "adapt.tune", "--help"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert said.returncode == 0 and "equal budgets" in said.stdout and "--sampler" in said.stdout
