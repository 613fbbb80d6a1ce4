"""Faults of a store and its tables: afterwards the same command gives the rows of an undisturbed sweep.

kill -9 at given moments is in runs/test_kill.py, at random ones in fault_loop.py (``make faults``), a full disk in
test_bad_input.py, damaged stages in store/test_entries.py and chain/test_chain.py.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from command import Answer, adapt_here
from world import REPOSITORY, overrides

from adapt import results, status
from adapt.runs.journal import of_study
from adapt.store import keys

SWEEP = ["pretrain=[],[dapt]", "seed=0,1", "evaluate=clean"]


def sweep(world: Path, root: Path, *more: str) -> Answer:
    return adapt_here("-m", *overrides(world, root), *SWEEP, *more)


def finished(world: Path, root: Path) -> pd.DataFrame:
    answer = sweep(world, root)
    assert answer.code == 0, answer.err
    return results.load(root, "adhoc")


def stages(root: Path) -> dict[Path, int]:
    """When each stage was built."""
    return {path.parent: path.stat().st_mtime_ns for path in root.glob("store/*/*/stage.json")}


@pytest.fixture(scope="module")
def undisturbed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return finished(world, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def done(world: Path, undisturbed: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the finished sweep, which tests must not change."""
    root = tmp_path_factory.mktemp("done")
    finished(world, root)
    return root


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


FILES = ("runs/*.json", "studies/adhoc/*.json", "jobs/adhoc/*.json", "store/file_hashes.json")


@pytest.mark.parametrize("harm", [torn, Path.unlink], ids=["torn", "gone"])
@pytest.mark.parametrize(
    "what", [FILES, *(pytest.param((file,), marks=pytest.mark.full) for file in FILES)], ids=["all", *FILES]
)
def test_a_file_of_each_kind_beside_the_stages_is_written_again(
    what: tuple[str, ...], harm: Callable[[Path], None], world: Path, undisturbed: pd.DataFrame, done: Path
) -> None:
    """One file of each kind, each of another run; ``make test-all`` tries each kind by itself."""
    before = stages(done)
    for place, pattern in enumerate(what):
        files = sorted(done.glob(pattern))
        harm(files[place % len(files)])
    assert results.same_rows(finished(world, done), undisturbed)
    assert stages(done) == before
    assert {record["state"] for record in of_study(done, "adhoc").values()} == {"done"}


def test_a_clock_that_jumps_back(world: Path, undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    """The clock goes back: files written before have a time in the future."""
    assert adapt_here("-m", *overrides(world, tmp_path), *SWEEP, "seed=0").code == 0
    tomorrow = time.time() + 86_400
    for path in tmp_path.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    before = stages(tmp_path)
    assert results.same_rows(finished(world, tmp_path), undisturbed)
    assert before.items() <= stages(tmp_path).items()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """mounted(name, *options): a folder that ``mount *options`` was called for."""
    places: list[Path] = []

    def mount(name: str, *options: str) -> Path:
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        if subprocess.run(["mount", *options, str(place)], capture_output=True).returncode != 0:
            pytest.skip("mounting needs root")
        places.append(place)
        return place

    yield mount
    for place in reversed(places):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_store_on_another_file_system(
    world: Path, undisturbed: pd.DataFrame, mounted: Callable[..., Path], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "store").symlink_to(mounted("elsewhere", "-t", "tmpfs", "tmpfs"))
    assert results.same_rows(finished(world, root), undisturbed)


def test_a_root_that_cannot_be_written_to(
    world: Path, undisturbed: pd.DataFrame, done: Path, mounted: Callable[..., Path]
) -> None:
    """Finished runs can be read; a new run is refused in one sentence that names the root."""
    place = mounted("read-only", "--bind", "-o", "ro", str(done))
    if os.access(place, os.W_OK):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
    assert results.same_rows(results.load(place, "adhoc"), undisturbed)
    words = [word for word in overrides(world, place) if not word.startswith("hydra.")]
    assert "done     4" in status.describe(status_of(words), None)
    answer = adapt_here(*words, "evaluate=clean", "seed=7")
    assert answer.code == 1
    assert str(place) in answer.err and "runtime.root must be a folder that can be written to" in answer.err


def status_of(words: list[str]) -> status.Status:
    from adapt.runs import grid

    found = grid.sweep([*words, *SWEEP])
    return status.status(found.root, found.study, found.points)


def test_two_versions_of_the_code_on_one_store(
    world: Path, undisturbed: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version trains its own runs once; the study's table holds each run once, from the last version."""
    assert results.same_rows(finished(world, tmp_path), undisturbed)
    old = stages(tmp_path)
    version = keys.source_version
    with monkeypatch.context() as patch:
        newer_loop = {"adapt.training.loop": ("training.loop", 99)}
        patch.setattr(keys, "source_version", lambda module: newer_loop.get(module) or version(module))
        newer = finished(world, tmp_path)
        assert not set(newer["run_id"]) & set(undisturbed["run_id"])
        assert len(newer) == len(undisturbed)
    both = stages(tmp_path)
    trained = Counter(path.parent.name for path in set(both) - set(old))
    assert trained == {"pretrain": 1, "finetune": 4, "evaluate": 4}
    assert results.same_rows(finished(world, tmp_path), undisturbed)
    assert stages(tmp_path) == both
    assert results.load(tmp_path)["run_id"].nunique() == 8


WRITERS = """
import os, sys, time
from pathlib import Path
import chain_runs
from adapt.chain import stage
from adapt.runs import pipeline
world, root, built, number = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])

def noting():
    original = stage.Stage.call
    def call(self, inputs, folder, runtime):
        with built.open("a") as stream:
            stream.write(folder.name + chr(10))
        time.sleep(self.kind == "task")  # the first stage of all writers: time for the others to come to its lock
        return original(self, inputs, folder, runtime)
    pipeline.Pipeline.__init__.__defaults__ = (call,)

words = ["-m", *chain_runs.overrides(world, root), "evaluate=clean"]
orders = [("[],[dapt]", "0,1"), ("[dapt],[]", "1,0")]
pids = []
for place in range(number):
    chains, seeds = orders[place % 2]
    pids.append(chain_runs.start([*words, f"pretrain={chains}", f"seed={seeds}"], noting))
statuses = [os.waitpid(pid, 0)[1] for pid in pids]
sys.exit(int(any(statuses)))
"""


@pytest.mark.parametrize("writers", [3, pytest.param(8, marks=pytest.mark.full)])
def test_many_writers_build_each_stage_once(
    writers: int, world: Path, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    root, built = tmp_path / "root", tmp_path / "built"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}"}
    command = [sys.executable, "-c", WRITERS, str(world), str(root), str(built), str(writers)]
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    logs = "".join(path.read_text() for path in root.glob("hydra/**/*.log"))
    assert "waiting for another process that is building" in logs
    names = built.read_text().split()
    assert len(names) == len(set(names)) == len(list(root.glob("store/*/*/stage.json")))
    assert results.same_rows(results.load(root, "adhoc"), undisturbed)
    assert json.loads(sorted(root.glob("runs/*.json"))[0].read_text())["run_id"] in set(undisturbed["run_id"])
