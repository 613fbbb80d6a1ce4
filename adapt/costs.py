"""What a training has cost, as metrics of its rows."""

from __future__ import annotations

import resource
import sys

import torch

from adapt.checkpoint import Progress

MEANS = ("delta_norm_", "delta_at_", "ascent_")


def costs(progress: Progress) -> dict[str, float]:
    """What a training has cost, as metrics of its rows: sums over its steps.

    The measurements of its perturbations (``Step.adversary_report``) are means over the steps instead.
    """
    counts = {name: value / (progress.step if name.startswith(MEANS) else 1) for name, value in progress.counts.items()}
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_resident_bytes()
    return {
        "train_seconds": progress.seconds,
        "peak_memory_bytes": float(peak),
        "steps": float(progress.step),
        "tokens": float(progress.tokens),
        "examples_per_second": progress.examples / progress.seconds,
        **counts,
    }


def peak_resident_bytes() -> int:
    """The most memory this process has ever held, on a machine without a GPU."""
    scale = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
