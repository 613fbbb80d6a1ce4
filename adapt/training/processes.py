"""The processes that share a stage: how many there are, which one this is, and what they tell each other.

They are one process outside of ``together``, whatever torch.distributed says: between the stages that several share,
the leader alone works, and ``from_leader`` alone reaches the others. Every function but ``count``, ``rank`` and
``leads`` must be called by all of them.
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
    """Within the block all processes of the default group do the same work on different examples."""
    global _together
    _together = True
    try:
        yield
    finally:
        _together = False


def count() -> int:
    """How many share the work."""
    return distributed.get_world_size() if _together else 1


def rank() -> int:
    """The number of this one, from 0."""
    return distributed.get_rank() if _together else 0


def leads() -> bool:
    """Whether this is the one that writes files, logs and shows progress."""
    return rank() == 0


def total(*values: float) -> list[float]:
    """The sum over the processes of each value."""
    if count() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return sums.tolist()


def add_up(*tensors: Tensor) -> None:
    """Put the sum over the processes into each tensor."""
    if count() > 1:
        for tensor in tensors:
            distributed.all_reduce(tensor)


def agreed(value: Any) -> Any:
    """The leader's value, for what all of them compute and then decide by: a last digit may differ between machines."""
    return value if count() == 1 else from_leader(value)


def from_leader(value: Any = None) -> Any:
    """The leader's value, to all processes of the group, whether they share a stage or wait for one."""
    given = [value]
    distributed.broadcast_object_list(given, src=0)
    return given[0]


def gathered(values: Tensor) -> Tensor:
    """The values of all processes, [n, ...] each, one after another; on the CPU where there are several."""
    if count() == 1:
        return values
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, values.cpu())
    return torch.cat(parts)


def wait() -> None:
    """Until all of them are here: the leader's files are then written."""
    if count() > 1:
        distributed.barrier()


def share(indices: list[int]) -> list[int]:
    """This one's part of a step's examples: as many for each, and one more for the first where it does not divide."""
    least, more = divmod(len(indices), count())
    start = rank() * least + min(rank(), more)
    return indices[start : start + least + (rank() < more)]
