"""Bases in 4 and 8 bits: what is quantised and what is not, merging into bits, moving layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from adapted import METHODS, answers, classifier, guessing, language_model, option, settings_of, tokenizer, train
from adversaries import VOCABULARY, make_batch, masked
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)
from world import pipeline

from adapt.adapters import bits, stage
from adapt.adapters.quantization import dequantized, is_quantized, quantize
from adapt.checks.peft import ALLOCATING, NOT_MERGEABLE, OF_BIASES
from adapt.models import loading
from adapt.training.retention import layer_stacks

KINDS = ("nf4", "int8")
FOLDED = [
    (name, kind)
    for name in METHODS
    for kind in KINDS
    if settings_of(name).get("_target_") not in {*NOT_MERGEABLE, OF_BIASES, ALLOCATING}  # the last two: refused on bits
]
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SMALL_DISTIL = {"vocab_size": VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("bitsandbytes")


class Stack(nn.Module):
    """A stack of layers, as in an encoder, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(16, 8), nn.Linear(8, 4)])
        self.head = nn.Linear(4, 2)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            given = layer(given).relu()
        return self.head(given)


def places(layer: nn.Module) -> dict[str, int]:
    """The memory address of each tensor of an 8-bit layer."""
    result = {"weight": layer.weight.data_ptr()}
    for name in ("CB", "SCB"):
        held = getattr(layer.weight, name) if getattr(layer.weight, name) is not None else getattr(layer.state, name)
        result[name] = held.data_ptr()
    return result


def test_a_model_in_8_bits_takes_its_scales_along() -> None:
    network, given = Stack(), torch.randn(3, 16)
    expected = network(given)
    quantize(network, "int8", [])
    layers = [layer for layer in network.layers if is_quantized(layer)]
    assert len(layers) == 2
    for _ in range(2):  # before the first pass, and after it, when bitsandbytes keeps them elsewhere
        before = [places(layer) for layer in layers]
        network._apply(lambda tensor: tensor.clone())  # as Module.to does from device to device
        for layer, old in zip(layers, before, strict=True):
            now = places(layer)
            assert now["CB"] == now["weight"]
            assert all(now[name] != old[name] for name in old)
        torch.testing.assert_close(network(given), expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("training", [True, False])
def test_a_large_feature_is_not_rounded_with_the_others_in_8_bits(training: bool) -> None:
    """LLM.int8(): 5 rows of 64 features, one of them some 50 times the others."""
    torch.manual_seed(0)
    linear, given = nn.Linear(64, 32), torch.randn(5, 64)
    given[:, 3] = 50 + torch.arange(5)
    layer = bits.int8(linear).train(training).requires_grad_(False)
    assert layer.state.threshold == bits.THRESHOLD == 6.0
    given.requires_grad_()
    result = layer(given)
    weight = layer.state.CB.float() * (layer.state.SCB / 127)[:, None]
    exact = nn.functional.linear(given, weight, linear.bias)
    step = given.detach().abs()[:, [c for c in range(64) if c != 3]].amax(1) / 127  # of the other features
    most = step[:, None] / 2 * weight.abs().sum(1)
    assert ((result - exact).abs() <= most + 1e-5).all()
    direction = torch.randn_like(result)
    (gradient,) = torch.autograd.grad((result * direction).sum(), given)
    torch.testing.assert_close(gradient, direction @ weight, atol=1e-5, rtol=1e-5)  # of the large feature as well


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_outside_the_layers_stays_though_no_list_names_it(kind: str) -> None:
    electra, distilbert = (
        AutoConfig.for_model("electra", embedding_size=8, **SMALL),
        AutoConfig.for_model("distilbert", **SMALL_DISTIL),
    )
    bert = AutoConfig.for_model("bert", **SMALL)
    for auto, config, heads in (
        (AutoModelForMaskedLM, electra, {"generator_predictions.dense", "electra.embeddings_project"}),
        (AutoModelForSequenceClassification, electra, {"classifier.dense", "classifier.out_proj"}),
        (AutoModelForSequenceClassification, distilbert, {"pre_classifier", "classifier"}),
        (AutoModelForSequenceClassification, bert, {"bert.pooler.dense", "classifier"}),
    ):
        network = auto.from_config(config)
        quantize(network, kind, ["attention.self.query"])  # no name of the network
        linear = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
        float_ones = {name for name, layer in linear.items() if not is_quantized(layer)}
        assert heads <= float_ones
        (layers,) = layer_stacks(network.base_model)
        assert not {id(layer) for name, layer in linear.items() if name in float_ones} & set(map(id, layers.modules()))


def test_what_a_list_names_stays_within_the_layers_too() -> None:
    network = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("bert", **SMALL))
    kept = ["bert.encoder.layer.0.attention", "encoder.layer.1.output.dense"]  # with and without the prefix
    quantize(network, "nf4", kept)
    inside = dict(network.bert.encoder.layer.named_modules())
    assert not is_quantized(inside["0.attention.self.query"]) and not is_quantized(inside["1.output.dense"])
    assert is_quantized(inside["1.attention.self.query"]) and is_quantized(inside["0.output.dense"])


def test_a_new_language_model_head_on_bits_is_trained(tmp_path: Path) -> None:
    """An ELECTRA discriminator has none of its own."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("electra", embedding_size=8, **SMALL)
    AutoModelForPreTraining.from_config(config).save_pretrained(tmp_path / "base")
    batch = masked(make_batch(6))
    model = language_model(tmp_path / "base", option("qlora"), tmp_path / "out")
    before = model.model.generator_predictions.dense.weight.detach().clone()
    train(model, guessing(batch))
    assert not torch.equal(model.model.generator_predictions.dense.weight, before)
    model.save(tmp_path / "saved", tokenizer())
    again, new = loading.load_language_model(tmp_path / "saved", dropout=0.0)
    assert new == [] and torch.equal(answers(again, batch), answers(model, batch))


def test_all_of_an_own_head_on_bits_is_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(AutoConfig.for_model("distilbert", **SMALL_DISTIL)).save_pretrained(tmp_path)
    cfg = option("qlora", "peft.method.target_modules=[q_lin,v_lin]")
    model = classifier(tmp_path, cfg, tmp_path / "out", pooling="cls")
    head = {name for name, weight in model.model.named_parameters() if "classifier" in name and weight.requires_grad}
    assert head == {f"{name}.{part}" for name in ("pre_classifier", "classifier") for part in ("weight", "bias")}


@pytest.mark.parametrize(("method", "kind"), FOLDED)
def test_merged_into_bits_is_as_unmerged(method: str, kind: str, bases: dict[str, Path], tmp_path: Path) -> None:
    batch = masked(make_batch(6))
    parent = language_model(bases["bert"], option(method, f"peft.quantization={kind}"), tmp_path)
    train(parent, guessing(batch))
    assert all(weight.dtype == torch.float32 for weight in parent.parameters() if weight.requires_grad)
    parent.save(tmp_path / "parent", tokenizer())
    check_merge(tmp_path / "parent", batch, answers(parent, batch))


@pytest.mark.parametrize("child", ["lora", "dora", "adalora", "ia3"])
def test_what_is_stacked_on_bits_is_folded_with_what_is_under_it(
    child: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    batch = masked(make_batch(6))
    for folder, name, inherit in ((bases["bert"], "qlora", "merge"), (tmp_path / "qlora", child, "stack")):
        model = language_model(folder, option(name, f"peft.inherit={inherit}"), tmp_path / "work")
        train(model, guessing(batch), steps=2)
        model.save(tmp_path / name if inherit == "merge" else tmp_path / "stacked", tokenizer())
    check_merge(tmp_path / "stacked", batch, answers(model, batch))


def check_merge(folder: Path, batch: dict[str, torch.Tensor], trained: torch.Tensor) -> None:
    """Merged equals peft's own pass over the dequantised base, and is near the trained model, which rounds inputs."""
    merged, unmerged = (loading.load_language_model(folder, dropout=0.0)[0] for _ in range(2))
    stage.merge(merged.model)
    for name, layer in list(unmerged.named_modules()):
        if is_quantized(layer):
            parent, _, own = name.rpartition(".")
            setattr(unmerged.get_submodule(parent), own, dequantized(layer))
    result = answers(merged, batch)
    torch.testing.assert_close(result, answers(unmerged, batch), atol=1e-4, rtol=1e-4)
    assert (result - trained).abs().mean() < 0.03  # DoRA without its magnitudes is off by 0.9 at most
    assert not any("lora" in name or "base_layer" in name for name, _ in merged.named_modules())
    assert not any(is_quantized(module) for module in merged.modules())


@pytest.mark.parametrize(
    ("name", "quantized"), [("lora", False), ("full", False), ("qlora", True), ("int8_lora", True)]
)
def test_the_key_of_a_stage_knows_how_layers_are_put_in_bits_where_they_are(
    name: str, quantized: bool, world: Path, tmp_path: Path
) -> None:
    chain = pipeline(world, tmp_path, "pretrain=[dapt]", f"peft={name}", f"peft@pretrain_peft={name}")
    trained = [one for one in chain.stages if one.kind in ("pretrain", "finetune")]
    assert len(trained) == 2
    for one in trained:
        assert ("adapt.adapters.bits" in one.modules) is quantized


def test_bits_keep_their_layout_whatever_the_cpu_can() -> None:
    """bitsandbytes 0.50.2 packs NF4 weights anew in evaluation, on CPUs with AVX512-BF16 and in steps of 32 outputs."""
    layer: Any = bits.nf4(nn.Linear(24, 24))  # no multiple of 32
    stored = layer.weight.data.clone()
    with torch.no_grad():
        layer.eval()(torch.randn(2, 24))
    assert not layer.support_avx512bf16_for_cpu
    assert layer.weight.data.shape == stored.shape and torch.equal(layer.weight.data, stored)
