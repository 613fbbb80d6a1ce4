"""What a training has cost, as metrics of its rows."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch
from torch import nn

from adapt.training.checkpoint import Progress

KEY_NAME = "training.costs"
VERSION = 1
CPU = torch.device("cpu")
MEANS = ("delta_norm_", "delta_at_", "ascent_")


def costs(progress: Progress, device: torch.device, held: int | None) -> dict[str, float]:
    """What a training on ``device`` that has just ended has cost, as metrics of its rows: sums over its steps.

    The measurements of its perturbations (``Step.adversary_report``) are means over the steps instead. held: what
    :func:`forget_peak` gave before it; ``training_memory_bytes`` is the peak beyond that: gradients, the optimizer's
    state, activations, the kept best weights. ``peak_memory_bytes`` counts the model as well, and on a CPU all that
    the process holds, so that it tells methods apart only in a process of their own. The time of both rates includes
    the measurements in between.
    """
    counts = {name: value / (progress.step if name.startswith(MEANS) else 1) for name, value in progress.counts.items()}
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_resident_bytes()
    return {
        "train_seconds": progress.seconds,
        "peak_memory_bytes": float(peak),
        "steps": float(progress.step),
        "tokens": float(progress.tokens),
        "examples_per_second": progress.examples / progress.seconds,
        **({} if held is None else {"training_memory_bytes": float(max(0, peak - held))}),
        **counts,
    }


def trainable_parameters(model: nn.Module) -> int:
    """Number of scalar weights that require a gradient; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def forget_peak(device: torch.device = CPU) -> int | None:
    """Let the peak of memory count from now on: a sweep trains many models in one process.

    Returns the bytes that are held now, on the GPU where the device is one, else by the process, after what earlier
    trainings have left is given back. Where the system cannot (macOS, Windows) it is None, and ``peak_memory_bytes``
    is the most that the process has ever held.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what is freed; the training would take it without a trace
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size
    except (OSError, AttributeError, TypeError):  # Linux alone has them
        return torch.cuda.memory_allocated() if device.type == "cuda" else None
    return torch.cuda.memory_allocated() if device.type == "cuda" else of_status("VmRSS")


def peak_resident_bytes() -> int:
    """The most memory that this process has held since :func:`forget_peak`, where it trains on no GPU."""
    with contextlib.suppress(OSError):
        return of_status("VmHWM")
    scale = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def of_status(name: str) -> int:
    """Bytes of this process: VmRSS, what it holds, or VmHWM, the peak of that. Raises OSError where it is not Linux."""
    return 1024 * int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0])
