"""What a training cost, as metrics for its rows."""

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


def costs(progress: Progress, device: torch.device, bytes_before: int | None) -> dict[str, float]:
    """What a training on ``device`` that has just ended cost, as metrics for its rows: sums over its steps.

    Statistics of its perturbations (``Step.adversary_report``) are means over the steps instead. bytes_before: what
    :func:`forget_peak` returned before the training. ``training_memory_bytes`` is the peak minus that: gradients, the
    optimizer's state, activations, the copy of the best weights. ``peak_memory_bytes`` includes the model and, on a
    CPU, everything that the process holds, so it compares methods only if each runs in its own process.
    ``train_seconds``, and the rate that is taken from it, include the measurements during the training.
    """
    counts = {name: value / (progress.step if name.startswith(MEANS) else 1) for name, value in progress.counts.items()}
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_resident_bytes()
    return {
        "train_seconds": progress.seconds,
        "peak_memory_bytes": float(peak),
        "steps": float(progress.step),
        "tokens": float(progress.tokens),
        "examples_per_second": progress.examples / progress.seconds,
        **({} if bytes_before is None else {"training_memory_bytes": float(max(0, peak - bytes_before))}),
        **counts,
    }


def trainable_parameters(model: nn.Module) -> int:
    """Number of scalar weights that require a gradient; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def forget_peak(device: torch.device = CPU) -> int | None:
    """Reset the peak of memory, since a sweep trains many models in one process.

    Frees what earlier trainings left, then returns the bytes in use: on the GPU if the device is one, else by the
    process. Where the system cannot reset the peak of a process (macOS, Windows), that is None, and
    ``peak_memory_bytes`` is the most that the process has ever used.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory; a training that reused it would not show
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size
    except (OSError, AttributeError, TypeError):  # only Linux has them
        return torch.cuda.memory_allocated() if device.type == "cuda" else None
    return torch.cuda.memory_allocated() if device.type == "cuda" else of_status("VmRSS")


def peak_resident_bytes() -> int:
    """The most memory that this process has used since :func:`forget_peak`; for a training without a GPU."""
    with contextlib.suppress(OSError):
        return of_status("VmHWM")
    scale = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def of_status(name: str) -> int:
    """Memory of this process in bytes: VmRSS, in use now, or VmHWM, its peak. Raises OSError if this is not Linux."""
    return 1024 * int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0])
