"""After a kill or a stop at any moment the same command ends with the same rows and weights, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def outcomes(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    command = [sys.executable, str(TESTS / "chain_runs.py"), str(world), str(tmp_path_factory.mktemp("kill"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS.parent}:{TESTS}"}
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_undisturbed_run_has_its_weights_and_rows(outcomes: dict) -> None:
    assert outcomes["moments"]["whole"]["status"] == 0
    assert outcomes["weights"] == 4  # dapt, tapt, the fine-tuned encoder and its head
    assert outcomes["rows"] > 20


@pytest.mark.parametrize(
    "moment",
    [
        *("in pretraining", "in the second pretraining", "between stages", "in fine-tuning", "before a stage's rename"),
        *("in evaluation", "while rows are written"),
    ],
)
def test_a_killed_run_ends_as_if_nothing_had_been(outcomes: dict, moment: str) -> None:
    found = outcomes["moments"][moment]
    assert found == {
        "killed": -signal.SIGKILL,
        "rows_left": 0,
        "status": 0,
        "same_rows": True,
        "same_weights": True,
        "left_behind": [],
    }


@pytest.mark.parametrize(("name", "number", "step"), [("dapt", signal.SIGUSR1, 2), ("finetune", signal.SIGTERM, 3)])
def test_a_training_that_is_told_to_stop_saves_the_step_it_is_in(
    outcomes: dict, name: str, number: int, step: int
) -> None:
    assert outcomes["stops"][name] == {
        "killed": -number,
        "saved": step,
        "states": ["cut"],
        "status": 0,
        "resumed_at": step,
        "same_rows": True,
        "same_weights": True,
    }
