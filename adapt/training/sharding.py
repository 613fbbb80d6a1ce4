"""Sharded models (FSDP2): each process holds a part of the weights. How to shard a model, and to gather it again.

Each process holds its part of every weight, gradient and optimizer state; a layer's weights are gathered while it
computes. Functions that gather must be called by all processes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from adapt.config import RuntimeConfig
from adapt.training import processes
from adapt.training.retention import layer_stacks

KEY_NAME = "training.sharding"
VERSION = 1
Restore = Callable[[], Any]


def distribute(model: Any, runtime: RuntimeConfig) -> Restore:
    """Under ``runtime.shard``, shard the model in place over the processes; its parameters are then other objects.

    Returns a function that returns the whole model at any time: on the leader (a copy on the CPU if the model is
    sharded), and None on the other processes.
    """
    if not (runtime.shard and processes.count() > 1):
        return lambda: model if processes.leads() else None
    whole = copy.deepcopy(model).cpu() if processes.leads() else None
    mesh = init_device_mesh(next(model.parameters()).device.type, (processes.count(),))
    for stack in layer_stacks(model.encoder):
        for layer in stack:
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)

    def restore() -> Any:
        state = gathered(model.state_dict())
        if whole is not None:
            whole.load_state_dict(state)
        return whole

    return restore


def is_sharded(model: nn.Module) -> bool:
    """Whether ``distribute`` has sharded the model."""
    return isinstance(model, FSDPModule)


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """Within the block, modules can be called without the model around them, such as the embedding by itself."""
    if not isinstance(model, FSDPModule):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def forget_whole(model: nn.Module) -> None:
    """Make ``parameters()`` this process's parts again; the next pass gathers the whole weights itself."""
    if isinstance(model, FSDPModule):
        model.reshard()


def gathered(tree: Any) -> Any:
    """A tree of dicts and lists with whole tensors: sharded ones are gathered to the CPU, others stay as they are."""
    if isinstance(tree, Mapping):
        return {name: gathered(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [gathered(value) for value in tree]
    return tree.full_tensor().cpu() if isinstance(tree, DTensor) else tree


def scattered(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, sharded as ``like`` is; the tensor itself if ``like`` is not sharded."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def scattered_by_name(state: Mapping[str, Any], like: Mapping[str, Tensor]) -> dict[str, Any]:
    """A tree of dicts in which every value with the name of a tensor of ``like`` is sharded as that tensor is."""
    return {
        name: scattered_by_name(value, like)
        if isinstance(value, Mapping)
        else scattered(value, like[name])
        if name in like
        else value
        for name, value in state.items()
    }


def scattered_optimizer(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """An optimizer's state of whole tensors, sharded as the parameters that the optimizer holds are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    of_each = {
        number: {name: scattered(value, parameters[number]) if isinstance(value, Tensor) else value
                 for name, value in values.items()}
        for number, values in state["state"].items()
    }  # fmt: skip
    return {**state, "state": of_each}
