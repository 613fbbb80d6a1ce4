"""A model whose weights lie in parts on the processes that train it (FSDP2), and the same weights whole again.

Each process holds its part of every weight, gradient and optimizer state; a layer's weights are whole while it works.
The functions that gather must be called by all processes.
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
    """Under ``runtime.shard``, leave each process a part of the model, in place; its parameters are then other objects.

    Returns what gives the model whole, at any time: to the leader (a copy on the CPU, where the model is in parts), and
    None to the others.
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
    """Whether ``distribute`` has left a part of it here."""
    return isinstance(model, FSDPModule)


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """Within the block, modules that only the model itself may call have their weights: the embedding, by hand."""
    if not isinstance(model, FSDPModule):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def forget_whole(model: nn.Module) -> None:
    """Leave the model with its parts alone, as its ``parameters()``; whole weights are gathered by the next pass."""
    if isinstance(model, FSDPModule):
        model.reshard()


def gathered(tree: Any) -> Any:
    """A tree of dicts and lists with its tensors whole: those in parts on the CPU, the others as they are."""
    if isinstance(tree, Mapping):
        return {name: gathered(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [gathered(value) for value in tree]
    return tree.full_tensor().cpu() if isinstance(tree, DTensor) else tree


def scattered(value: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor that is laid out as ``like`` is; the tensor itself where that is whole."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def scattered_by_name(state: Mapping[str, Any], like: Mapping[str, Tensor]) -> dict[str, Any]:
    """A tree of dicts with what is called as a tensor of ``like`` laid out as that is."""
    return {
        name: scattered_by_name(value, like)
        if isinstance(value, Mapping)
        else scattered(value, like[name])
        if name in like
        else value
        for name, value in state.items()
    }


def scattered_optimizer(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """An optimizer's state of whole tensors, laid out as the parameters are that the optimizer holds."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    of_each = {
        number: {name: scattered(value, parameters[number]) if isinstance(value, Tensor) else value
                 for name, value in values.items()}
        for number, values in state["state"].items()
    }  # fmt: skip
    return {**state, "state": of_each}
