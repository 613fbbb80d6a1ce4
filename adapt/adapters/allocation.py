"""What AdaLoRA adds to training: ranks are removed as it goes on, and factors that are not orthogonal are penalised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.adalora import RankAllocator
from torch import Tensor, nn

from adapt.training.loop import AfterUpdate
from adapt.training.retention import Pull

KEY_NAME = "adapters.allocation"
VERSION = 1
MEMORY = "rank_allocation"


@dataclass(frozen=True)
class Trained:
    """A model as peft's rank allocator sees it: only trained weights, since frozen ones have no gradient to rank by."""

    model: nn.Module

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The trained weights, by name."""
        return ((name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad)


def allocation(tuner: Any, steps: int) -> AfterUpdate:
    """The function to call after each optimizer step, before its gradients are cleared: (step from 1, memory) -> None.

    tuner: peft's AdaLoraModel. Its schedule (tinit, tfinal) is scaled from ``total_step`` to ``steps``. The running
    averages of the importances (Zhang et al., 2023, equations 8 to 10) are stored in the memory, so that training can
    resume. Frozen layers take no part: the others end with ``target_r`` ranks on average.
    """
    config = tuner.peft_config[tuner.trainable_adapter_name]
    first, last = (round(part * steps / config.total_step) for part in (config.tinit, config.tfinal))
    config.total_step = steps
    config.tinit = min(first, max(0, steps - last - 1))
    config.tfinal = min(last, steps - 1)
    trained = Trained(tuner.model)
    allocator = RankAllocator(trained, config, tuner.trainable_adapter_name)
    averages = ("exp_avg_ipt", "exp_avg_unc")

    def after_update(step: int, memory: dict[str, Any]) -> None:
        if MEMORY in memory:  # from this process's last step, or from a checkpoint
            stored = memory[MEMORY]
            for name in averages:
                setattr(allocator, name, dict(stored[name]))
            allocator.ipt = {name: torch.zeros_like(value) for name, value in stored["exp_avg_ipt"].items()}
            config.rank_pattern = {name: mask.tolist() for name, mask in stored["rank_pattern"].items()} or None
        final = config.total_step - config.tfinal
        due = step if config.rank_pattern else min(step, final)  # the step that fixes the ranks may have been skipped
        if due <= final and not allocator.ipt:
            allocator.update_ipt(trained)  # a training of one step allocates by that step's importances
        allocate(allocator, trained, due)
        pattern = config.rank_pattern or {}
        memory[MEMORY] = {name: getattr(allocator, name) for name in averages} | {
            "rank_pattern": {name: torch.tensor(mask) for name, mask in pattern.items()}
        }

    return after_update


def allocate(allocator: Any, trained: Trained, step: int) -> None:
    """Do what AdaLoraModel.update_and_allocate does, but on trained weights only: peft's also reads frozen ones."""
    config = allocator.peft_config
    last = config.total_step - config.tfinal
    if step > last:
        allocator.mask_using_rank_pattern(trained, config.rank_pattern)
        return
    _, pattern = allocator.update_and_allocate(trained, step, force_mask=step == last)
    config.rank_pattern = pattern or config.rank_pattern
    if step == last:
        allocator.reset_ipt()


def orthogonality(tuner: Any) -> Pull:
    """The gradient of gamma times the mean over P and Q of ||P^T P - I|| (equation 4; the norm as in peft)."""
    config = tuner.peft_config[tuner.trainable_adapter_name]
    mine = {name: weight for name, weight in tuner.model.named_parameters() if tuner.trainable_adapter_name in name}

    def pull(scale: float) -> None:
        right = [weight for name, weight in mine.items() if "lora_A" in name and weight.requires_grad]
        left = [weight for name, weight in mine.items() if "lora_B" in name and weight.requires_grad]
        trained = [*right, *left]
        with torch.enable_grad():
            away = torch.stack([from_orthogonal(rows) for rows in [*right, *(weight.T for weight in left)]]).mean()
            gradients = torch.autograd.grad(scale * config.orth_reg_weight * away, trained)
        for weight, gradient in zip(trained, gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)

    return pull


def from_orthogonal(rows: Tensor) -> Tensor:
    """||R R^T - I||_F of r directions [r, width]."""
    return torch.linalg.norm(rows @ rows.T - torch.eye(len(rows), device=rows.device))
