"""What a training has cost, as rows."""

import sys

import pytest
import torch

from adapt.checkpoint import Progress
from adapt.costs import costs, forget_peak, peak_resident_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
def test_the_peak_of_memory_counts_from_its_last_reset():
    forget_peak()
    before = peak_resident_bytes()
    much = torch.ones(50_000_000)  # 200 MB
    assert peak_resident_bytes() - before > 150e6
    del much
    forget_peak()
    assert peak_resident_bytes() - before < 100e6


def test_passes_are_sums_and_measurements_of_perturbations_are_means():
    counts = {"forward_passes": 8.0, "delta_norm_p50": 2.0, "delta_at_boundary": 1.0, "ascent_gain": 0.5}
    progress = Progress(step=4, tokens=100, examples=40, seconds=8.0, counts=counts)
    found = costs(progress, torch.device("cpu"))
    assert (found["steps"], found["tokens"], found["forward_passes"]) == (4, 100, 8)
    assert (found["delta_norm_p50"], found["delta_at_boundary"], found["ascent_gain"]) == (0.5, 0.25, 0.125)
    assert found["examples_per_second"] == 5.0
    assert found["peak_memory_bytes"] > 0  # of the process, also where there is a GPU that this training left alone
