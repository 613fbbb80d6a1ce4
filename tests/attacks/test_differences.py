"""A gradient that is not the loss's is seen by finite differences, and no sound model is suspected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from adversaries import ARCHITECTURES, make_batch, tiny
from axes import add_lora
from torch import Tensor, nn
from victims import Linear as KnownSlopes
from victims import one_token, right

from adapt.adapters import bits
from adapt.attacks.checks import WRONG
from adapt.attacks.differences import KINDS, compared, disagreement
from adapt.attacks.ensemble import clean_state
from adapt.attacks.victim import Victim
from adapt.models.heads import Classifier, MeanHead


def distance(model: nn.Module) -> float:
    """How far the gradient of a model is from finite differences, on the usual batch."""
    victim = Victim(model, right(model, make_batch()), special_tokens=True)
    _, gradient = clean_state(victim)
    return disagreement({name: values.double().numpy() for name, values in compared(victim, gradient).items()})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sound_models_are_not_suspected(architecture: str) -> None:
    assert distance(tiny(architecture)) <= 0.01


def test_nor_are_those_under_lora_or_in_sixteen_bits() -> None:
    model = tiny("bert")
    add_lora(model)
    assert distance(model) <= 0.01
    rounded = tiny("bert")
    rounded.to(torch.bfloat16)
    assert distance(rounded) <= WRONG


class Wrong(torch.autograd.Function):
    """The identity, whose gradient is spoilt by ``spoil``."""

    @staticmethod
    def forward(ctx, values: Tensor, spoil: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.spoil = spoil
        return values.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.spoil(gradient), None


def noise(gradient: Tensor) -> Tensor:
    """A vector of 0.75 times its length in a random direction is added, as a wrong kernel does."""
    drawn = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0))
    return gradient + 0.75 * gradient.norm() * drawn / drawn.norm()


SPOILT: dict[str, Callable[[Tensor], Tensor]] = {
    "noise of 75%": noise,
    "half as long": lambda gradient: gradient / 2,
    "the other way": lambda gradient: -gradient,
    "some widths have none": lambda gradient: gradient * (torch.arange(gradient.shape[-1]) % 4 > 0),
    "rows in another order": lambda gradient: gradient.roll(1, 0),
    "only the first token's": lambda gradient: gradient * (torch.arange(gradient.shape[1]) == 0)[:, None],
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_wrong_gradient_is_seen(fault: str) -> None:
    model = tiny("bert")
    model.encoder.encoder.register_forward_hook(
        lambda _module, _given, output: type(output)(last_hidden_state=Wrong.apply(output[0], SPOILT[fault]))
    )
    assert distance(model) > WRONG


def test_a_detached_path_is_seen() -> None:
    model = tiny("bert")
    layer = model.encoder.encoder.layer[0]
    layer.attention.output.dense.register_forward_hook(lambda _module, _given, output: output.detach())
    assert distance(model) > WRONG


def quantized() -> nn.Module:
    """A random Llama, wide enough for blocks of NF4, with its linear layers quantised."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    encoder = LlamaModel(LlamaConfig(vocab_size=64, max_position_embeddings=64, **sizes))
    model = Classifier(encoder, MeanHead(64, 3, 0.0))
    model.head.out.weight.data *= 20  # so that the loss bends
    for name, layer in bits.linear_layers(encoder).items():
        parent, _, own = name.rpartition(".")
        setattr(encoder.get_submodule(parent), own, bits.nf4(layer))
    return model.eval()


def test_nf4_is_seen_only_where_its_kernel_has_no_gradient() -> None:
    """bitsandbytes (0.50.2) packs the weights at the first pass outside training; the packed kernel has no autograd."""
    pytest.importorskip("bitsandbytes")
    from bitsandbytes.functional import has_avx512bf16
    from bitsandbytes.nn import Linear4bit

    model = quantized()
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    assert layers
    assert distance(model) <= WRONG
    if not has_avx512bf16():
        pytest.skip("this CPU has no AVX512-BF16")
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    try:
        assert distance(model) > WRONG
    except RuntimeError as error:  # nothing upstream requires a gradient any more: refused loudly, which is as good
        assert "does not require grad" in str(error)


def test_the_slopes_of_a_known_model() -> None:
    """Class 1 has the logits (0, 3 i / 7); the cross-entropy of label 1 falls by 5 (1 - p) along w = (3, 4)."""
    victim = Victim(KnownSlopes(), one_token(3, 7), special_tokens=True)
    _, gradient = clean_state(victim)
    sums = {name: values.double().numpy() for name, values in compared(victim, gradient).items()}
    assert disagreement(sums) == 0.0
    sums = {name: values.double().numpy() for name, values in compared(victim, gradient * 2).items()}
    assert disagreement(sums) == pytest.approx(0.5, abs=0.06)  # less what the curvature explains


def test_the_verdict_by_hand() -> None:
    samples = {f"{kind}.{name}": np.zeros(2) for kind in KINDS for name in ("error", "doubt", "size")}
    assert disagreement(samples) == 0.0  # no slope at all: another check says so
    samples |= {
        "random.error": np.array([9.0, 16.0]),
        "random.doubt": np.array([1.0, 0.0]),
        "random.size": np.full(2, 50.0),
    }
    assert disagreement(samples) == pytest.approx((5 - 2) / 10)
    samples["random.doubt"] = np.array([6.25, 0.0])
    assert disagreement(samples) == 0.0
    samples["gradient.error"], samples["gradient.size"] = np.array([np.nan, 0.0]), np.ones(2)
    assert np.isnan(disagreement(samples)) or disagreement(samples) > WRONG
