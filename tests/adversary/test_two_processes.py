"""Two processes with half a batch each give the gradients of one with the whole."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from adversaries import OBJECTIVES, Toy, make_batch, run

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.fixture(scope="module")
def distributed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    outs = [folder / "0.pt", folder / "1.pt"]
    path = f"{SCRIPT.parents[2]}:{SCRIPT.parent}"
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), folder / "store", out],
            env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PATH": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [torch.load(out) for out in outs]


@pytest.mark.holds("processes")
def test_two_processes_of_8_give_the_gradients_of_one_of_16(adversary, distributed):
    torch.manual_seed(2)
    whole = run(adversary, Toy(), OBJECTIVES["classification"], [make_batch()]).gradients
    for half in distributed:
        for name, gradient in whole.items():
            torch.testing.assert_close(half[adversary.name][name], gradient, atol=1e-5, rtol=0)
