"""How far a training has come, and the files that resume it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from adapt.training import processes
from adapt.training.sharding import gathered, scattered_by_name, scattered_optimizer

KEY_NAME = "training.checkpoint"
VERSION = 2


@dataclass
class Progress:
    """How far a training has come; plain numbers, kept in its checkpoint and afterwards as the stage's record."""

    step: int = 0
    tokens: int = 0
    examples: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0  # measurements since the best one
    stopped_early: bool = False
    counts: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoint:
    """The files that resume one training: its latest state, and the best weights so far.

    Each is written beside its name and renamed, so a kill leaves the old or the new one. The best weights may be
    newer than the state that a resumed run starts from; replaying the same steps writes the same best weights again.

    Of several processes the leader writes and all read, so the folder must be one that they share. What is written is
    whole, so that another number of processes can go on from it, sharded or not.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.latest = folder / f"{name.replace('/', '-')}.latest.pt"
        self.best = folder / f"{name.replace('/', '-')}.best.pt"

    def save(
        self, model: nn.Module, optimizer: Any, scheduler: LambdaLR, progress: Progress, memory: dict[str, Any]
    ) -> None:
        """Write the latest state and, in it, the best weights; raises FileNotFoundError before any save_best.

        memory: what a training method keeps from step to step (``Step.memory``).
        """
        state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "progress": asdict(progress)}
        state = gathered({**state, "model": trained_state(model), "memory": memory})
        if processes.leads():
            self._write(self.latest, {**state, "best": self._read(self.best)})

    def load(self, model: nn.Module, optimizer: Any, scheduler: LambdaLR, memory: dict[str, Any]) -> Progress | None:
        """Put the latest state into the arguments and the best weights into their file; None if nothing was saved."""
        if not self.latest.exists():
            return None
        state = self._read(self.latest)
        put(model, state["model"])
        optimizer.load_state_dict(scattered_optimizer(state["optimizer"], optimizer))
        scheduler.load_state_dict(state["scheduler"])
        kept = moved(state["memory"], next(model.parameters()).device)
        memory.update(scattered_by_name(kept, dict(model.named_parameters())))
        if processes.leads():
            self._write(self.best, state["best"])
        return Progress(**state["progress"])

    def save_best(self, model: nn.Module) -> None:
        """Write the model's weights over the best ones so far.

        Not flushed to the disk, which would cost more than some steps: after a crash of the machine, ``load`` takes the
        best weights from the latest state, which is.
        """
        state = gathered(trained_state(model))
        if processes.leads():
            self._write(self.best, state, flush=False)

    def load_best(self, model: nn.Module) -> None:
        """Put the best weights into the model; raises FileNotFoundError before any save_best."""
        processes.wait()  # for the leader to have written them
        put(model, self._read(self.best))
        processes.wait()  # for the others to have read them: the leader may remove the file now

    def _read(self, file: Path) -> Any:
        return torch.load(file, map_location="cpu", weights_only=True)

    def _write(self, file: Path, state: Any, *, flush: bool = True) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        with fresh.open("wb") as stream:
            torch.save(state, stream)
            if flush:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(fresh, file)


def trained_state(model: nn.Module) -> dict[str, Any]:
    """The model's state but for what is frozen, which a stage has from its parent, and the scales of 4-bit weights."""
    frozen = tuple(name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad)
    below = tuple(f"{name}." for name in frozen)
    return {
        name: value for name, value in model.state_dict().items() if name not in frozen and not name.startswith(below)
    }


@torch.no_grad()
def put(model: nn.Module, state: dict[str, Any]) -> None:
    """Give what ``trained_state`` left its values again; a layer of 8 bits would refuse a state without its own."""
    here = model.state_dict()
    for name, value in scattered_by_name(state, here).items():
        if name in here:
            here[name].copy_(value)


def moved(memory: Any, device: torch.device) -> Any:
    """A tree of dicts with its tensors on the device."""
    if isinstance(memory, dict):
        return {name: moved(value, device) for name, value in memory.items()}
    return memory.to(device) if isinstance(memory, torch.Tensor) else memory
