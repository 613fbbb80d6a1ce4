"""Layers in 8 bits that move."""

import pytest
import torch
from torch import nn

from adapt.adapters.quantization import is_quantized, quantize


def places(layer: nn.Module) -> dict[str, int]:
    """Where in memory each tensor of a layer in 8 bits lies."""
    found = {"weight": layer.weight.data_ptr()}
    for name in ("CB", "SCB"):
        held = getattr(layer.weight, name) if getattr(layer.weight, name) is not None else getattr(layer.state, name)
        found[name] = held.data_ptr()
    return found


def test_a_model_in_8_bits_takes_its_scales_along() -> None:
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    network, given = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)), torch.randn(3, 16)
    expected = network(given)
    quantize(network, "int8", [])
    layers = [layer for layer in network if is_quantized(layer)]
    assert len(layers) == 2
    for _ in range(2):  # before the first pass, and after it, when bitsandbytes keeps them elsewhere
        before = [places(layer) for layer in layers]
        network._apply(lambda tensor: tensor.clone())  # as Module.to does from device to device
        for layer, old in zip(layers, before, strict=True):
            now = places(layer)
            assert now["CB"] == now["weight"]
            assert all(now[name] != old[name] for name in old)
        torch.testing.assert_close(network(given), expected, atol=0.02, rtol=0.02)
