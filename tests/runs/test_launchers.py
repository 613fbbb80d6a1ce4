"""Under each launcher of conf/hydra/launcher, found by globbing, a sweep ends as under Hydra's own launcher.

Launchers that queue jobs again are made to do so in mid-training, by submitit's signal. ``make test`` runs
one of them (slurm_local starts the same jobs by itself: marker ``full``).
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import fake_slurm
import pytest
from command import adapt_here
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from world import REPOSITORY, overrides

from adapt import results
from adapt.config import Config
from adapt.store.provenance import usable_threads

NAMES = sorted(path.stem for path in (REPOSITORY / "conf" / "hydra" / "launcher").glob("*.yaml"))
PREEMPTED = {"slurm", "slurm_local"}
MORE = {"processes": ["hydra.launcher.n_jobs=2"]}
SAVES_NOTHING = ["budget.epochs=100", "runtime.checkpoint_seconds=1000000"]


def preempt(root: Path, sent: list[int]) -> None:
    """Send submitit's signal to the job of seed 0 when the only training of the sweep has begun."""
    limit = time.monotonic() + 300
    while not list(root.glob("store/finetune/.*.unfinished/checkpoint/*.best.pt")) and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(0.3)  # that file is of the measurement before the first step
    records = [json.loads(path.read_text()) for path in root.glob("jobs/*/*.json")]
    for record in records:
        if "seed=0" in record["overrides"] and record["state"] == "running":
            os.kill(record["pid"], signal.SIGUSR2)
            sent.append(record["pid"])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if name == "slurm_local" else ()) for name in NAMES]
)
def test_a_sweep_ends_as_under_the_basic_launcher(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    fake_slurm.install(tmp_path / "bin")
    if name == "slurm":
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    seeds = "seed=0,-1" if name in PREEMPTED else "seed=0,1,-1"
    words = ["evaluate=clean", seeds, *(SAVES_NOTHING if name in PREEMPTED else [])]
    basic, root = tmp_path / "basic", tmp_path / "root"
    expected = adapt_here("-m", *overrides(world, basic), *words)
    sent: list[int] = []
    if name in PREEMPTED:
        threading.Thread(target=preempt, args=(root, sent)).start()
    answer = adapt_here("-m", *overrides(world, root), *words, f"hydra/launcher={name}", *MORE.get(name, []))

    assert answer.code == expected.code == 1
    runs = 1 if name in PREEMPTED else 2
    assert f"\n{runs} runs, " in answer.out and f"\n{runs} runs, " in expected.out
    assert (
        answer.err.startswith("error: seed=-1: must be at least 0 and at most 9000000000000")
        and answer.err.count("in the run ") == 1
    )
    assert results.same_rows(results.load(basic), results.load(root))
    logs = "".join(path.read_text() for path in root.glob("hydra/[0-9]/*.log"))
    built = re.findall(r"^(?!finetune)\w+: [0-9a-f]{8}$", logs, re.MULTILINE)
    assert len(built) == len(set(built)) == 3 + runs  # two tables of the task, leaks; an evaluation each
    assert len(sent) == (name in PREEMPTED)
    assert ("SIGUSR2: the training is saved" in logs) == (name in PREEMPTED)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_launcher_leaves_lies_under_the_root(name: str) -> None:
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        cfg = compose("config", [f"hydra/launcher={name}", "runtime.root=elsewhere"], return_hydra_config=True)
        launcher = cfg.hydra.launcher
        assert launcher.get("submitit_folder", "elsewhere/hydra/").startswith("elsewhere/hydra/")


@pytest.mark.parametrize("name", [*NAMES, "joblib"])
def test_a_launcher_whose_package_is_missing_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ConfigStore.instance().repo["hydra"]["launcher"]
    for plugin in ("joblib", "submitit_local", "submitit_slurm"):
        monkeypatch.delitem(store, f"{plugin}.yaml")
    extra = "slurm" if "slurm" in name else "joblib"
    answer = adapt_here("-m", f"hydra/launcher={name}", "seed=0,1")
    assert answer.code == 1 and answer.err.startswith("error: hydra/launcher=")
    assert f": its package is not installed; pip install 'adapt[{extra}]'\n" in answer.err


@pytest.mark.parametrize(("given", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2)])
def test_a_worker_takes_the_threads_that_its_launcher_gives_it(
    given: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert usable_threads(None) == threads and usable_threads(7) == 7


@pytest.mark.parametrize("given", [None, "", "0", "all"])
def test_without_a_number_a_run_takes_the_cores_it_may_use(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert usable_threads(None) == len(os.sched_getaffinity(0))


def test_where_a_process_dies_the_error_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    from adapt.runs import summary

    summary.forget()
    monkeypatch.setattr(sys, "argv", ["adapt", "-m", "experiment=quickstart", "hydra/launcher=processes"])
    said = summary.refusal(TerminatedWorkerError("a worker is gone"))
    assert "adapt status experiment=quickstart hydra/launcher=processes\n" in said
