"""What a training has cost, as rows."""

import sys

import pytest
import torch

from adapt.training.checkpoint import Progress
from adapt.training.costs import CPU, costs, forget_peak, peak_resident_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
def test_the_peak_of_memory_counts_from_its_last_reset():
    held = forget_peak(CPU)
    before = peak_resident_bytes()
    assert held is not None and abs(before - held) < 20e6
    much = torch.ones(50_000_000)  # 200 MB
    assert peak_resident_bytes() - before > 150e6
    del much
    forget_peak(CPU)
    assert peak_resident_bytes() - before < 100e6


def test_passes_are_sums_and_measurements_of_perturbations_are_means():
    counts = {"forward_passes": 8.0, "delta_norm_p50": 2.0, "delta_at_boundary": 1.0, "ascent_gain": 0.5}
    progress = Progress(step=4, tokens=100, examples=40, seconds=8.0, counts=counts)
    found = costs(progress, CPU, None)
    assert "training_memory_bytes" not in found
    assert (found["steps"], found["tokens"], found["forward_passes"]) == (4, 100, 8)
    assert (found["delta_norm_p50"], found["delta_at_boundary"], found["ascent_gain"]) == (0.5, 0.25, 0.125)
    assert found["examples_per_second"] == 5.0
    assert found["peak_memory_bytes"] > 0  # of the process, also where there is a GPU that this training left alone


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
def test_what_a_training_took_does_not_depend_on_what_the_process_has_held():
    """Peaks of trainings of one size differ by what lay in the process; what they took beyond it does not."""
    taken, peaks = [], []
    for before in (0, 60, 0):
        kept = torch.ones(before * 1_000_000)
        earlier = [torch.ones(100_000) for _ in range(300)]  # small blocks, which malloc keeps when they are freed
        del earlier
        held = forget_peak(CPU)
        much = torch.ones(40_000_000)  # 160 MB
        found = costs(Progress(step=1, seconds=1.0), CPU, held)
        del much, kept
        taken.append(found["training_memory_bytes"])
        peaks.append(found["peak_memory_bytes"])
    assert max(taken) - min(taken) < 20e6 and min(taken) > 150e6 and max(taken) < 190e6
    assert max(peaks) - min(peaks) > 200e6
