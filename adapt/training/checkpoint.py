"""The progress of a training, and the files from which it resumes."""

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
    """How far a training has come, in plain numbers: part of its checkpoint, and later of the stage's record."""

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
    """The files from which one training resumes: its latest state, and the best weights so far.

    Each is written under a temporary name and then renamed, so that a kill leaves the old or the new file. The best
    weights may be newer than the state that a resumed run starts from; repeating the same steps writes them again.

    Of several processes the leader writes and all read, so they must share the folder. Tensors are written whole, so
    that another number of processes can resume from them, sharded or not.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.latest = folder / f"{name.replace('/', '-')}.latest.pt"
        self.best = folder / f"{name.replace('/', '-')}.best.pt"

    def save(
        self, model: nn.Module, optimizer: Any, scheduler: LambdaLR, progress: Progress, memory: dict[str, Any]
    ) -> None:
        """Write the latest state, which includes the best weights. Raises FileNotFoundError before any save_best.

        memory: what a training method carries from step to step (``Step.memory``).
        """
        state = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "progress": asdict(progress)}
        scaler = getattr(optimizer, "scaler", None)  # fp16's: its scale decides which updates are skipped
        state["scaler"] = None if scaler is None else scaler.state_dict()
        state = gathered({**state, "model": trained_state(model), "memory": memory})
        if processes.leads():
            self._write(self.latest, {**state, "best": self._read(self.best)})

    def load(self, model: nn.Module, optimizer: Any, scheduler: LambdaLR, memory: dict[str, Any]) -> Progress | None:
        """Load the latest state into the arguments and restore the file of best weights; None if nothing was saved."""
        if not self.latest.exists():
            return None
        state = self._read(self.latest)
        put(model, state["model"])
        optimizer.load_state_dict(scattered_optimizer(state["optimizer"], optimizer))
        scheduler.load_state_dict(state["scheduler"])
        if state["scaler"] is not None:
            optimizer.scaler.load_state_dict(state["scaler"])
        on_device = moved(state["memory"], next(model.parameters()).device)
        memory.update(scattered_by_name(on_device, dict(model.named_parameters())))
        if processes.leads():
            self._write(self.best, state["best"])
        return Progress(**state["progress"])

    def save_best(self, model: nn.Module) -> None:
        """Replace the best weights so far with the model's weights.

        The file is not flushed to disk, which would take longer than some steps. After a crash of the machine ``load``
        takes the best weights from the latest state, which is flushed.
        """
        state = gathered(trained_state(model))
        if processes.leads():
            self._write(self.best, state, flush=False)

    def load_best(self, model: nn.Module) -> None:
        """Load the best weights into the model. Raises FileNotFoundError before any save_best."""
        processes.wait()  # until the leader has written them
        put(model, self._read(self.best))
        processes.wait()  # until all have read them: the leader may remove the file after this

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
    """The model's state without frozen weights, which a stage gets from its parent, and without their 4-bit scales."""
    frozen = tuple(name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad)
    below = tuple(f"{name}." for name in frozen)
    return {
        name: value for name, value in model.state_dict().items() if name not in frozen and not name.startswith(below)
    }


@torch.no_grad()
def put(model: nn.Module, state: dict[str, Any]) -> None:
    """Load what ``trained_state`` returned; ``load_state_dict`` of an 8-bit layer would refuse a partial state."""
    own = model.state_dict()
    for name, value in scattered_by_name(state, own).items():
        if name in own:
            own[name].copy_(value)


def moved(memory: Any, device: torch.device) -> Any:
    """The same tree of dicts with its tensors on the device."""
    if isinstance(memory, dict):
        return {name: moved(value, device) for name, value in memory.items()}
    return memory.to(device) if isinstance(memory, torch.Tensor) else memory
