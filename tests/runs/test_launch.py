"""``runtime.processes=2``, sharded or not: the rows of one process within rounding, and one writer."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from command import adapt_here
from forked import children, command, forked, run_on_two, runs  # noqa: F401 - forked: a fixture
from omegaconf import OmegaConf
from safetensors.torch import load_file
from world import REPOSITORY, overrides, pipeline

from adapt import results
from adapt.runs import launch

CHAIN = [
    "pretrain=[dapt,tapt]", "pretrain.dapt.dropout=0", "pretrain.tapt.dropout=0", "finetune.dropout=0",
    "budget.tapt_steps=5", "budget.epochs=2", "evaluate=clean",
]  # fmt: skip
# 30 examples in steps of 8: the last has 6, three for each process. 29 in steps of 8 and micro-batches of 2: the last
# has 5, and the second process pads its two. 25: the last has one, and the second process runs only dummies.
METHODS = {
    "none": ["adversary=none", "budget.train_examples=25"],
    "fgm": ["adversary=fgm", "budget.train_examples=30"],
    "freelb": ["adversary=freelb", "budget.train_examples=29", "finetune.micro_batch_size=2"],
    "tavat": ["adversary=tavat", "budget.train_examples=25"],
    "awp": ["adversary=awp", "budget.train_examples=25"],
    "smart": ["adversary=smart", "budget.train_examples=25", "adversary@pretrain_adversary=alum"],
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


RARE = ("fgm", "tavat", "awp")  # in make test-all: the others have batches that are cut, a teacher, an ALUM before
WAYS = {"2": ["runtime.processes=2"], "2, sharded": ["runtime.processes=2", "runtime.shard=true"]}
on_two = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def methods(request: pytest.FixtureRequest) -> list[str]:
    """All methods, or those that are not ``full``."""
    return [name for name in METHODS if name not in RARE or request.config.getoption("markexpr") != "not full"]


@pytest.fixture(scope="module")
def roots(methods: list[str], world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The root of the runs of all methods, by number of processes; two are forked, as torchrun would run them."""
    found = {way: tmp_path_factory.mktemp("processes") for way in ("1", *WAYS)}
    configs = []
    for method in methods:
        settings = METHODS[method]
        pipeline(world, found["1"], *CHAIN, *settings).run()
        for way, more in WAYS.items():
            shared = pipeline(world, found[way], *CHAIN, *settings, *more)
            configs.append(found[way] / f"{method}.yaml")
            OmegaConf.save(OmegaConf.structured(shared.cfg), configs[-1])
    run_on_two(configs)
    return found


def rows(root: Path, method: str) -> pd.Series:
    table = results.load(root)
    table = table[table["adversary"].eq(method) & ~table["metric"].str.contains("seconds|per_second|memory|storage")]
    return table.set_index(["split", "attack", "attack_epsilon", "metric"])["value"].sort_index()


@on_two
@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.full if name in RARE else ()) for name in METHODS]
)
def test_two_processes_give_the_rows_of_one(method: str, way: str, roots: dict[str, Path]) -> None:
    one, two = (rows(roots[each], method) for each in ("1", way))
    assert len(one) > 20
    assert one.index.equals(two.index)
    difference = (one - two).abs() / one.abs().clip(lower=1)
    assert difference.max() < 1e-4, difference.sort_values().tail()


@on_two
def test_the_losses_along_each_training_are_those_of_one_process(
    way: str, methods: list[str], roots: dict[str, Path]
) -> None:
    """A stage's key knows nothing of processes."""
    both = (roots["1"], roots[way])
    one, two = ({path.parent.name: path for path in root.glob("store/*/*/training.json")} for root in both)
    assert one.keys() == two.keys()
    texts = {METHODS[name][1] for name in methods}  # 25, 29 and, under fgm, 30
    adaptations = 1 + len(texts) + 2  # DAPT, a TAPT each, and both on 25 once more under ALUM
    assert len(one) == adaptations + len(methods)
    for name, path in one.items():
        first, second = (json.loads(each.read_text()) for each in (path, two[name]))
        assert first["best_step"] == second["best_step"]
        assert [entry["step"] for entry in first["history"]] == [entry["step"] for entry in second["history"]]
        for a, b in zip(first["history"], second["history"], strict=True):
            assert a == pytest.approx(b, rel=1e-4)


def test_the_number_of_processes_stands_in_the_rows(roots: dict[str, Path]) -> None:
    assert [set(results.load(root)["processes"]) for root in roots.values()] == [{1}, {2}, {2}]


@on_two
def test_what_two_processes_save_is_a_model_like_any_other(
    way: str, methods: list[str], roots: dict[str, Path]
) -> None:
    files = {str(path.relative_to(roots["1"])): load_file(path) for path in roots["1"].glob("store/*/*/*.safetensors")}
    assert len(files) > len(methods)
    for name, weights in files.items():
        found = load_file(roots[way] / name)
        assert found.keys() == weights.keys()
        for tensor, value in weights.items():
            torch.testing.assert_close(found[tensor], value, atol=2e-4, rtol=1e-3)


def test_the_command_starts_the_processes(world: Path, roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh ones. Also: a finished run starts no processes."""
    root = roots["2"] / "commanded"
    done = adapt_here(*overrides(world, root), *CHAIN, *METHODS["freelb"], "runtime.processes=2")
    assert done.code == 0, done.err
    pd.testing.assert_series_equal(rows(root, "freelb"), rows(roots["2"], "freelb"))
    assert set(results.load(root)["processes"]) == {2}
    monkeypatch.setattr(launch, "shared", lambda cfg: pytest.fail("a finished run started processes"))
    again = launch.run(pipeline(world, root, *CHAIN, *METHODS["freelb"], *WAYS["2"]))
    assert set(results.load(root)["run_id"]) == {again}


@pytest.mark.usefixtures("forked")
def test_what_a_stage_of_the_first_process_refuses_is_one_sentence(world: Path, tmp_path: Path) -> None:
    done = adapt_here(*overrides(world, tmp_path), "pretrain=[dsir]", "budget.selected_documents=100000", *WAYS["2"])
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "100000" in done.err.partition("error: ")[2]


@pytest.mark.usefixtures("forked")
def test_an_error_of_a_process_is_the_runs_error(world: Path, tmp_path: Path) -> None:
    diverging = ["finetune.optimizer.learning_rate=1e30", "finetune.optimizer.clip_norm=null", "evaluate=clean"]
    done = adapt_here(*overrides(world, tmp_path), *diverging, "runtime.processes=2")
    assert done.code == 1
    assert "NonFiniteLoss" in done.err
    assert "finetune, step" in done.err
    assert len(results.failed(tmp_path)) == 1


@pytest.mark.parametrize(
    ("stop", "saves", "seen", "way"),
    [
        pytest.param(signal.SIGKILL, 0, "latest", "2", marks=pytest.mark.full),  # sharded and killed: the last test
        (signal.SIGTERM, 1e9, "best", "2, sharded"),
    ],
)
@pytest.mark.usefixtures("forked")
def test_a_command_that_is_stopped_ends_its_processes_and_the_run_goes_on(
    stop: signal.Signals, saves: float, seen: str, way: str, world: Path, tmp_path: Path
) -> None:
    """Processes that are told to stop save first; killed ones leave the last checkpoint. One process can resume it."""
    settings = ["finetune.dropout=0", "budget.epochs=300", "evaluate=clean"]
    shared = [*overrides(world, tmp_path), *settings, *WAYS[way], f"runtime.checkpoint_seconds={saves}"]
    pid = command(*shared)
    until(lambda: list(tmp_path.glob(f"store/finetune/.*/checkpoint/*.{seen}.pt")))
    both = children(pid)
    assert len(both) == 2
    os.kill(pid, stop)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -stop
    until(lambda: not any(runs(worker) for worker in both))
    assert not list(tmp_path.glob("runs/*.json"))
    (checkpoint,) = tmp_path.glob("store/finetune/.*/checkpoint/*.latest.pt")
    saved = torch.load(checkpoint, weights_only=True)["progress"]
    assert 0 < saved["step"] < 1200
    pipeline(world, tmp_path, *settings).run()  # resumes from the checkpoint of the two processes
    (record,) = tmp_path.glob("store/finetune/*/training.json")
    history = json.loads(record.read_text())["history"]
    assert history[: len(saved["history"])] == saved["history"]
    assert results.load(tmp_path)["run_id"].nunique() == 1


def until(true, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def workers(root: Path) -> list[int]:
    """The processes that run ``adapt.worker`` for a config under the root."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        configs = [word for word in words if word.endswith("config.yaml")]
        if (
            "adapt.worker" in words
            and configs
            and Path(configs[0]).exists()
            and str(root) in Path(configs[0]).read_text()
        ):
            found.append(int(path.parent.name))
    return found


@pytest.mark.usefixtures("forked")
def test_a_resumed_sharded_training_ends_like_a_whole_one(world: Path, roots: dict[str, Path], tmp_path: Path) -> None:
    """SMART's checkpoint has a teacher; on resuming, the optimizer's state and the teacher are sharded again.

    The processes that are cut are fresh ones, those that go on are forked.
    """
    settings = ["adversary=smart", "finetune.dropout=0", "evaluate=clean"]
    pipeline(world, tmp_path / "whole", *settings).run()
    root = tmp_path / "cut"
    arguments = [*overrides(world, root), *settings, *WAYS["2, sharded"], "runtime.checkpoint_seconds=0"]
    cut = subprocess.Popen([sys.executable, "-m", "adapt", *arguments], cwd=REPOSITORY, env=ENVIRONMENT)
    until(lambda: list(root.glob("store/finetune/.*/checkpoint/*.latest.pt")))
    assert len(workers(root)) == 2
    cut.kill()
    assert cut.wait() == -signal.SIGKILL
    until(lambda: not workers(root))
    assert not list(root.glob("runs/*.json"))
    done = adapt_here(*arguments)
    assert done.code == 0, done.err
    difference = (rows(tmp_path / "whole", "smart") - rows(root, "smart")).abs()
    assert difference.max() < 1e-3, difference.sort_values().tail()
