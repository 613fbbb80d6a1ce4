"""The processes that share a stage: how many there are, which one this is, and how they exchange values.

Outside of ``together`` this module counts one process, whatever torch.distributed says: between shared stages only the
leader works, and only ``from_leader`` reaches the others. All processes must call every function except ``count``,
``rank`` and ``leads``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed

KEY_NAME = "training.processes"
VERSION = 1
_together = False


@contextmanager
def together() -> Iterator[None]:
    """Within the block, all processes of the default group do the same work on different examples."""
    global _together
    _together = True
    try:
        yield
    finally:
        _together = False


def count() -> int:
    """How many processes share the work."""
    return distributed.get_world_size() if _together else 1


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if _together else 0


def leads() -> bool:
    """Whether this process writes files, logs and shows progress."""
    return rank() == 0


def total(*values: float) -> list[float]:
    """The sum of each value over the processes."""
    if count() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return sums.tolist()


def add_up(*tensors: Tensor) -> None:
    """Replace each tensor, in place, by its sum over the processes."""
    if count() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)


def agreed(value: Any) -> Any:
    """The leader's value of what all compute and then decide by: its last digit may differ between machines."""
    return value if count() == 1 else from_leader(value)


def from_leader(value: Any = None) -> Any:
    """Send the leader's value to all processes of the group, whether they share a stage or wait for one."""
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def gathered(values: Tensor) -> Tensor:
    """The values [n, ...] of all processes, concatenated; on the CPU if there are several processes."""
    if count() == 1:
        return values
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, values.cpu())
    return torch.cat(parts)


def wait() -> None:
    """Wait until all processes are here: the leader's files are then written."""
    if count() > 1:
        distributed.barrier()


def share(indices: list[int]) -> list[int]:
    """This process's part of a step's examples: equal parts, the first ones larger by one if they do not divide."""
    least, more = divmod(len(indices), count())
    start = rank() * least + min(rank(), more)
    return indices[start : start + least + (rank() < more)]
