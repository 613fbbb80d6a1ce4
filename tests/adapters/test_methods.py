"""Each option of conf/peft: what it trains, what is saved, and what happens to it in the next stage."""

import json
from pathlib import Path

import pytest
import torch
from adapted import (
    LABELS,
    METHODS,
    answers,
    architecture,
    classification,
    classifier,
    guessing,
    language_model,
    mergeable,
    needs,
    option,
    tokenizer,
    train,
)
from adversaries import make_batch, masked

from adapt.adapters import folder as files
from adapt.adapters import stage
from adapt.config import ConfigError
from adapt.models import loading
from adapt.perturbation.embeddings import find_embedding, perturbed
from adapt.training import costs, retention

BATCH = make_batch(6)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_saved_classifier_answers_to_the_bit(
    method: str, pooling: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    cfg = option(method)
    needs(cfg)
    base = bases[architecture(cfg)]
    model = classifier(base, cfg, tmp_path, pooling=pooling)
    before = answers(model, BATCH)
    train(model, classification(BATCH))
    here = answers(model, BATCH)
    assert (here - before).abs().max() > 1e-3
    model.save(tmp_path / "saved", tokenizer(), LABELS)
    again, labels = loading.load_classifier(tmp_path / "saved")
    assert labels == LABELS
    assert torch.equal(answers(again, BATCH), here)
    assert not any(weight.requires_grad for weight in again.model.parameters())
    again.save(tmp_path / "twice", tokenizer(), LABELS)  # as a linear probe or an export does
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        first, second = (tmp_path / folder / "adapters" / "0" / name for folder in ("saved", "twice"))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_saved_language_model_answers_to_the_bit(method: str, bases: dict[str, Path], tmp_path: Path) -> None:
    cfg = option(method)
    needs(cfg)
    batch = masked(BATCH)
    model = language_model(bases[architecture(cfg)], cfg, tmp_path)
    train(model, guessing(batch))
    model.save(tmp_path / "saved", tokenizer())
    again, new = loading.load_language_model(tmp_path / "saved", dropout=0.0)
    assert new == []
    assert torch.equal(answers(again, batch), answers(model, batch))


def test_the_folder_is_the_base_as_it_was_and_names_no_path(
    method: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    cfg = option(method)
    needs(cfg)
    base = bases[architecture(cfg)]
    config = (base / "config.json").read_bytes()
    model = classifier(base, cfg, tmp_path / "out")
    train(model, classification(BATCH))
    model.save(tmp_path / "out", tokenizer(), LABELS)
    weights = tmp_path / "out" / "model.safetensors"
    assert weights.samefile(base / "model.safetensors")  # a hard link: no second copy
    assert (base / "config.json").read_bytes() == config
    for file in (tmp_path / "out").rglob("*.json"):
        assert str(tmp_path) not in file.read_text() and str(base) not in file.read_text(), file
    assert files.bytes_beside_base(model.model, tmp_path / "out") == sum(
        file.stat().st_size for file in [*(tmp_path / "out" / "adapters").rglob("*.safetensors"),
                                         tmp_path / "out" / "head.safetensors"]
    )  # fmt: skip


def test_merged_is_as_unmerged(method: str, bases: dict[str, Path], tmp_path: Path) -> None:
    cfg = option(method)
    needs(cfg)
    if architecture(cfg) != "bert":
        assert not mergeable(cfg)
    batch = masked(BATCH)
    parent = language_model(bases[architecture(cfg)], cfg, tmp_path)
    train(parent, guessing(batch))
    parent.save(tmp_path / "parent", tokenizer())
    if not mergeable(cfg):
        with pytest.raises(ConfigError, match="stack or drop"):
            stage.merge(loading.load_language_model(tmp_path / "parent", dropout=0.0)[0].model)
        return
    merged = loading.load_language_model(tmp_path / "parent", dropout=0.0)[0]
    stage.merge(merged.model)
    near = {None: 1e-5, "nf4": 0.05, "int8": 0.1}[cfg.quantization]  # what bf16, or inputs in int8, had rounded away
    torch.testing.assert_close(answers(merged, batch), answers(parent, batch), atol=near, rtol=near)
    assert not any("lora" in name or "base_layer" in name for name, _ in merged.named_modules())
    for child in ("full", "lora"):
        model = language_model(tmp_path / "parent", option(child, "peft.inherit=merge"), tmp_path / child)
        train(model, guessing(batch))
        model.save(tmp_path / child, tokenizer())
        again, _ = loading.load_language_model(tmp_path / child, dropout=0.0)
        assert torch.equal(answers(again, batch), answers(model, batch))


PAIRS = [(below, over or below) for below in METHODS for over in ("lora", "prompt", None)]
PAIRS += [("lora", over) for over in METHODS]
WRAPPED = ("vera", "lora", "dora", "adalora", "ia3", "qlora", "int8_lora")
PAIRS = [pair for pair in PAIRS if not (pair[0] in WRAPPED and pair[1] == "vera")]  # refused, see test_refusals.py
PAIRS = [pair for pair in PAIRS if not (pair[0] == "lora" and pair[1] in ("qlora", "int8_lora"))]  # refused too
PAIRS = [pair for pair in dict.fromkeys(PAIRS) if "llama_adapter" not in pair]  # it does not serve BERT


@pytest.mark.parametrize(("method", "child"), PAIRS)
def test_a_stack_keeps_what_is_below_frozen(method: str, child: str, bases: dict[str, Path], tmp_path: Path) -> None:
    cfg = option(method)
    needs(cfg)
    needs(option(child))
    batch = masked(BATCH)
    parent = language_model(bases["bert"], cfg, tmp_path)
    train(parent, guessing(batch))
    parent.save(tmp_path / "parent", tokenizer())
    model = classifier(tmp_path / "parent", option(child, "peft.inherit=stack"), tmp_path / "child")
    train(model, classification(BATCH))
    model.save(tmp_path / "child", tokenizer(), LABELS)
    again, _ = loading.load_classifier(tmp_path / "child")
    assert torch.equal(answers(again, BATCH), answers(model, BATCH))
    adaptation = files.of(again.model)
    assert adaptation is not None and [adapter.name for adapter in adaptation.adapters] == ["adapter0", "adapter1"]
    for name in (files.WEIGHTS, files.CONFIG):
        own, kept = (tmp_path / folder / "adapters" / "0" / name for folder in ("parent", "child"))
        assert own.read_bytes() == kept.read_bytes()
    below = [weight for name, weight in model.model.named_parameters() if adaptation.adapters[0].owns(name)]
    assert not any(weight.requires_grad for weight in below)


def test_dropped_is_the_base(method: str, bases: dict[str, Path], tmp_path: Path) -> None:
    cfg = option(method)
    needs(cfg)
    base = bases[architecture(cfg)]
    parent = language_model(base, cfg, tmp_path)
    train(parent, guessing(masked(BATCH)))
    parent.save(tmp_path / "parent", tokenizer())
    names = [text for text in ("model.modules.attention=[q_proj,v_proj]",) if architecture(cfg) == "llama"]
    child = option("lora", "peft.inherit=drop", *names)
    fresh, dropped = (classifier(folder, child, tmp_path / "child") for folder in (base, tmp_path / "parent"))
    assert torch.equal(answers(fresh, BATCH), answers(dropped, BATCH))


def test_what_is_meant_to_be_trained_moves_and_nothing_else(
    method: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    cfg = option(method)
    needs(cfg)
    model = classifier(bases[architecture(cfg)], cfg, tmp_path)
    adapter = files.of(model.model).adapters[-1]  # type: ignore[union-attr]
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    train(model, classification(BATCH), steps=4)
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    if cfg.quantization is not None:  # bitsandbytes rounds a frozen bias to the precision that it computes in
        rounded = {name for name in moved if name.endswith("base_layer.bias")}
        for name in rounded:
            torch.testing.assert_close(
                dict(model.named_parameters())[name].float(), before[name].float(), rtol=2**-8, atol=0
            )
        moved -= rounded
    meant = {
        name
        for name in before
        if adapter.owns(name.removeprefix("model."))
        or name.startswith("head.")
        or files.plain(name.removeprefix("model.")) in adapter.whole
    }
    if method == "bitfit":  # softmax is invariant to a shift of all keys
        meant = {name for name in meant if not name.endswith("key.bias")}
        moved = {name for name in moved if not name.endswith("key.bias")}
    if method == "adalora":  # a matrix may lose all its ranks; its singular values then stay 0
        assert any("lora_E" in name for name in moved)
        meant = {name for name in meant if "lora_E" not in name or name in moved}
    assert moved == meant


@pytest.mark.parametrize("objective", ["classification", "masked"])
def test_the_adversary_sees_the_gradient_of_the_loss(
    method: str, objective: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    cfg = option(method)
    needs(cfg)
    base = bases[architecture(cfg)]
    batch = masked(BATCH) if objective == "masked" else BATCH
    model = language_model(base, cfg, tmp_path) if objective == "masked" else classifier(base, cfg, tmp_path)
    loss = guessing(batch) if objective == "masked" else classification(batch)
    train(model, loss, steps=2)
    model.eval()
    embedding = find_embedding(model, batch["input_ids"], lambda: answers(model, batch))
    delta = torch.zeros(*batch["input_ids"].shape, embedding.embedding_dim, requires_grad=True)
    mask = batch["attention_mask"].unsqueeze(-1).float()
    with perturbed(embedding, delta, mask):
        value = loss(model)
    (gradient,) = torch.autograd.grad(value, delta)
    norms = gradient.norm(dim=-1)
    assert (norms[batch["attention_mask"] == 0] == 0).all()
    assert (norms.sum(1) > 0).all()
    if cfg.quantization is not None:  # a gradient through rounding: no finite difference can be compared with it
        return
    direction, step = gradient / gradient.norm(), 1e-2
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            with perturbed(embedding, sign * step * direction, mask):
                values.append(loss(model).double())
    torch.testing.assert_close((values[0] - values[1]) / (2 * step), gradient.norm().double(), rtol=0.05, atol=1e-4)
    frozen = not any(weight.requires_grad for weight in embedding.parameters())
    assert frozen and not embedding(batch["input_ids"]).requires_grad  # nothing below the first adapter is kept


@pytest.mark.parametrize("method", [name for name in METHODS if name.startswith("prefix")])
def test_a_prefix_refuses_gradient_checkpointing(method: str, bases: dict[str, Path], tmp_path: Path) -> None:
    model = classifier(bases["bert"], option(method), tmp_path)
    with pytest.raises(ConfigError, match="gradient_checkpointing"):
        stage.checkpoint_gradients(model)


def test_other_methods_train_alike_under_gradient_checkpointing(
    method: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    cfg = option(method)
    needs(cfg)
    if method.startswith("prefix"):
        return
    result = []
    for checkpointed in (False, True):
        model = classifier(bases[architecture(cfg)], cfg, tmp_path)
        if checkpointed:
            stage.checkpoint_gradients(model)
        model.train()
        classification(BATCH)(model).backward()
        result.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert set(result[0]) == set(result[1]) != set()
    for name, gradient in result[0].items():
        torch.testing.assert_close(result[1][name], gradient)


HIDDEN, LAYERS, WIDE, HEAD = 16, 2, 32, 16 * 3 + 3
BY_HAND = {
    "head_only": 0,
    "bitfit": HIDDEN
    + LAYERS * (4 * HIDDEN + HIDDEN + WIDE + HIDDEN + HIDDEN),  # embedding norm; q k v o, norm, up, down, norm
    "lora": LAYERS * 2 * 4 * (HIDDEN + HIDDEN),  # query and value, r = 4
    "dora": LAYERS * 2 * (4 * (HIDDEN + HIDDEN) + HIDDEN),  # and a magnitude for each output
    "ia3": LAYERS * (HIDDEN + HIDDEN + WIDE),  # keys, values, what enters the second feed-forward layer
    "vera": LAYERS * 2 * (HIDDEN + 4),
    "prompt": 3 * HIDDEN,
    "prefix": 3 * LAYERS * 2 * HIDDEN,
    "bottleneck_pfeiffer": LAYERS * (2 * HIDDEN * 4 + 4 + HIDDEN),
    "bottleneck_houlsby": LAYERS * (2 * (2 * HIDDEN * 4 + 4 + HIDDEN) + 2 * 2 * HIDDEN),  # and two norms
}


@pytest.mark.parametrize("method", list(BY_HAND))
def test_trainable_parameters_as_counted_by_hand(method: str, bases: dict[str, Path], tmp_path: Path) -> None:
    model = classifier(bases["bert"], option(method), tmp_path)
    assert costs.trainable_parameters(model) == BY_HAND[method] + HEAD


def test_the_norms_of_houlsbys_bottlenecks_can_be_pulled_back(bases: dict[str, Path], tmp_path: Path) -> None:
    model = classifier(bases["bert"], option("bottleneck_houlsby"), tmp_path)
    pull = retention.toward_start(model, 0.5, new=[*retention.outside(model), *stage.adapter_weights(model)])
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    with torch.no_grad():
        for weight in trained.values():
            weight.add_(1)
            weight.grad = torch.zeros_like(weight)
    pull(1.0)
    assert sum("LayerNorm" in name for name in trained) == LAYERS * 2 * 2
    for name, weight in trained.items():
        torch.testing.assert_close(weight.grad, torch.full_like(weight, 0.5 if "LayerNorm" in name else 0.0))


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_peft_itself_opens_the_adapter(method: str, pooling: str, bases: dict[str, Path], tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModel, AutoModelForSequenceClassification

    model = classifier(bases["bert"], option(method), tmp_path, pooling=pooling)
    train(model, classification(BATCH))
    model.save(tmp_path, tokenizer(), LABELS)
    if pooling == "cls":
        base = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    else:
        base = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "adapters" / "0")).eval()
    given = {name: BATCH[name] for name in ("input_ids", "attention_mask")}
    model.eval()
    with torch.no_grad():
        output, own = theirs(**given), model.model(**given)
    torch.testing.assert_close(output[0], own[0], atol=1e-6, rtol=1e-6)
    assert (
        json.loads((tmp_path / "adapters" / "0" / "adapter_config.json").read_text())["base_model_name_or_path"] is None
    )
