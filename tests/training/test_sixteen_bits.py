"""What precision= says is what is computed, on a CPU too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from adapt.config import RuntimeConfig
from adapt.training.checkpoint import Checkpoint, Progress
from adapt.training.loop import make_accelerator

RUNTIME = RuntimeConfig(device="cpu", checkpoint_seconds=1.0, progress=False, trackers=[])
TYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.mark.parametrize("precision", TYPES)
def test_a_layer_computes_in_the_type_that_was_asked_for(precision: str, tmp_path: Path) -> None:
    accelerator = make_accelerator(precision, RUNTIME, tmp_path, "x")
    model = accelerator.prepare_model(nn.Linear(4, 4), evaluation_mode=True)
    seen: list[torch.dtype] = []
    model.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    with accelerator.autocast():
        nn.Linear.forward(model, torch.randn(2, 4))
        assert torch.nn.functional.linear(torch.randn(2, 4), torch.randn(4, 4)).dtype == TYPES[precision]
    assert (accelerator.scaler is not None) == (precision == "fp16")


def test_fp16_scales_the_loss_and_skips_an_update_that_overflows(tmp_path: Path) -> None:
    """accelerate (1.15) takes fp16 on a CPU without a word, and computes in float32 without a scaler."""
    accelerator = make_accelerator("fp16", RUNTIME, tmp_path, "x")
    weight = nn.Parameter(torch.ones(3))
    optimizer = accelerator.prepare(torch.optim.AdamW([weight], lr=0.1, fused=True))
    before = accelerator.scaler.get_scale()
    accelerator.backward((weight * 2).sum())
    assert torch.equal(weight.grad, torch.full((3,), 2 * before))
    accelerator.clip_grad_norm_([weight], 1e9)
    assert torch.equal(weight.grad, torch.full((3,), 2.0))
    optimizer.step()
    optimizer.zero_grad()
    moved = weight.detach().clone()
    assert not torch.equal(moved, torch.ones(3))
    accelerator.backward((weight * torch.inf).sum())
    optimizer.step()
    assert torch.equal(weight.detach(), moved) and accelerator.scaler.get_scale() == before / 2


def test_a_resumed_training_goes_on_with_the_scale_that_it_had(tmp_path: Path) -> None:
    def begun() -> tuple[nn.Module, Any, LambdaLR]:
        accelerator = make_accelerator("fp16", RUNTIME, tmp_path, "x")
        model = nn.Linear(3, 1)
        optimizer = accelerator.prepare(torch.optim.AdamW(model.parameters(), lr=0.1, fused=True))
        return model, optimizer, LambdaLR(optimizer, lambda step: 1.0)

    model, optimizer, scheduler = begun()
    checkpoint = Checkpoint(tmp_path / "checkpoint", "x")
    optimizer.scaler.scale(model(torch.ones(1, 3)).sum() * torch.inf).backward()
    optimizer.step()
    checkpoint.save_best(model)
    checkpoint.save(model, optimizer, scheduler, Progress(), {})
    again, fresh, schedule = begun()
    assert fresh.scaler.get_scale() != optimizer.scaler.get_scale()
    checkpoint.load(again, fresh, schedule, {})
    assert fresh.scaler.state_dict() == optimizer.scaler.state_dict()
