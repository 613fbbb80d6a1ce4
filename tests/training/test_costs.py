"""What a training cost, as metrics."""

import sys

import pytest
import torch

from adapt.training.checkpoint import Progress
from adapt.training.costs import CPU, costs, forget_peak, peak_resident_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset only on Linux")
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
    metrics = costs(progress, CPU, None)
    assert "training_memory_bytes" not in metrics
    assert (metrics["steps"], metrics["tokens"], metrics["forward_passes"]) == (4, 100, 8)
    assert (metrics["delta_norm_p50"], metrics["delta_at_boundary"], metrics["ascent_gain"]) == (0.5, 0.25, 0.125)
    assert metrics["examples_per_second"] == 5.0
    assert metrics["peak_memory_bytes"] > 0  # of the process, as there is no GPU or the training used none


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset only on Linux")
def test_the_memory_of_a_training_does_not_depend_on_what_the_process_held_before():
    """Peaks of equal trainings differ by what the process held before; what they used on top of it does not."""
    taken, peaks = [], []
    for before in (0, 60, 0):
        ballast = torch.ones(before * 1_000_000)
        earlier = [torch.ones(100_000) for _ in range(300)]  # small blocks: malloc keeps them after they are freed
        del earlier
        held = forget_peak(CPU)
        much = torch.ones(40_000_000)  # 160 MB
        metrics = costs(Progress(step=1, seconds=1.0), CPU, held)
        del much, ballast
        taken.append(metrics["training_memory_bytes"])
        peaks.append(metrics["peak_memory_bytes"])
    assert max(taken) - min(taken) < 20e6 and min(taken) > 150e6 and max(taken) < 190e6
    assert max(peaks) - min(peaks) > 200e6
