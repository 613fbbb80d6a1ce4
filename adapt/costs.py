"""What a training has cost, as metrics of its rows."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import torch

from adapt.checkpoint import Progress

MEANS = ("delta_norm_", "delta_at_", "ascent_")


def costs(progress: Progress, device: torch.device) -> dict[str, float]:
    """What a training on ``device`` has cost, as metrics of its rows: sums over its steps.

    The measurements of its perturbations (``Step.adversary_report``) are means over the steps instead.
    """
    counts = {name: value / (progress.step if name.startswith(MEANS) else 1) for name, value in progress.counts.items()}
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_resident_bytes()
    return {
        "train_seconds": progress.seconds,
        "peak_memory_bytes": float(peak),
        "steps": float(progress.step),
        "tokens": float(progress.tokens),
        "examples_per_second": progress.examples / progress.seconds,
        **counts,
    }


def forget_peak() -> None:
    """Let the peak of memory count from now on: a sweep trains many models in one process.

    Where the system cannot (macOS, Windows), ``peak_memory_bytes`` is the most that the process has ever held.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # Linux alone has the file
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size


def peak_resident_bytes() -> int:
    """The most memory that this process has held since :func:`forget_peak`, where it trains on no GPU."""
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    scale = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
