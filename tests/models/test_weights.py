"""Weights that do not fit their network are refused, whichever way they came not to fit; sound ones are opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)

from adapt.config import ConfigError
from adapt.models import loading
from adapt.models.weights import check_weights, wrapper_of
from adapt.unwrap import unwrap

SMALL = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
    "sep_token_id": 2,
}  # fmt: skip
Tensors = dict[str, torch.Tensor]


def saved(folder: Path, architecture: str, kind: type = AutoModelForMaskedLM, **more: object) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **{**SMALL, **more})
    kind.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bert"), "bert")


def edited(base: Path, folder: Path, change: Callable[[Tensors], Tensors], **config: object) -> Path:
    """A copy of a model with other tensors and other settings."""
    shutil.copytree(base, folder)
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def same(tensors: Tensors) -> Tensors:
    return tensors


UNFIT: dict[str, tuple[Callable[[Tensors], Tensors], dict[str, object], str]] = {
    "DDP": (lambda t: {f"module.{n}": v for n, v in t.items()}, {}, "names them with module.bert. before"),
    "torch.compile": (lambda t: {f"_orig_mod.{n}": v for n, v in t.items()}, {}, "names them with _orig_mod.bert. bef"),
    "compiled DDP": (lambda t: {f"module._orig_mod.{n}": v for n, v in t.items()}, {}, "module._orig_mod.bert. before"),
    "Lightning, bare encoder": (
        lambda t: {n.replace("bert.", "net.encoder_q.", 1): v for n, v in t.items()}, {}, "net.encoder_q. before",
    ),
    "several tasks": (lambda t: {f"task_a.{n}": v for n, v in t.items()}, {}, "adapt unwrap"),
    "a missing layer": (lambda t: {n: v for n, v in t.items() if "layer.1." not in n}, {}, "lack 16 tensors of a bert"),
    "no embeddings": (lambda t: {n: v for n, v in t.items() if "word_emb" not in n}, {}, "lack 1 tensors of a bert"),
    "more layers in config.json": (same, {"num_hidden_layers": 3}, "lack 16 tensors"),
    "fewer layers in config.json": (same, {"num_hidden_layers": 1}, "more layers than config.json says: 16 tensors"),
    "another width": (same, {"intermediate_size": 48}, r"\[32\] in its weights, but \[48\] by config.json; so do"),
    "another vocabulary": (same, {"vocab_size": 61}, r"\[60, 16\] in its weights, but \[61, 16\]"),
    "other names altogether": (lambda t: {f"x{i}": v for i, v in enumerate(t.values())}, {}, "that are not used, such"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_refused_by_every_way_in(case: str, bert: Path, tmp_path: Path) -> None:
    change, config, message = UNFIT[case]
    folder = edited(bert, tmp_path / "m", change, **config)
    ways: list[Callable[[], object]] = [
        lambda: check_weights(AutoModelForMaskedLM, folder),
        lambda: check_weights(AutoModelForSequenceClassification, folder),
        lambda: loading.load_masked_lm(folder, dropout=0.0),
        lambda: loading.load_encoder(folder),
        lambda: loading.new_classifier(folder, labels=["x", "y"], pooling="cls", dropout=0.0),
        lambda: loading.new_classifier(folder, labels=["x", "y"], pooling="mean", dropout=0.0),
    ]
    for way in ways:
        with pytest.raises(ConfigError, match=message):
            way()


def legacy_norms(tensors: Tensors) -> Tensors:
    return {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v for n, v in tensors.items()}


SOUND: dict[str, Callable[[Path], Path]] = {
    "albert, shared layers": lambda f: saved(f, "albert", embedding_size=8),
    "electra discriminator": lambda f: saved(f, "electra", AutoModelForPreTraining, embedding_size=8),
    "electra generator": lambda f: saved(f, "electra", embedding_size=8),
    "distilbert": lambda f: saved(f, "distilbert", dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    "deberta-v2, head of old": lambda f: saved(f, "deberta-v2"),
    "roberta": lambda f: saved(f, "roberta"),
    "mpnet": lambda f: saved(f, "mpnet"),
    "modernbert": lambda f: saved(f, "modernbert"),
    "bert with next sentences": lambda f: saved(f, "bert", AutoModelForPreTraining),
    "bert, only the encoder": lambda f: saved(f, "bert", AutoModel),
    "fine-tuned on five labels": lambda f: saved(f, "bert", AutoModelForSequenceClassification, num_labels=5),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_checkpoint_is_opened(case: str, tmp_path: Path) -> None:
    folder = SOUND[case](tmp_path / "m")
    for kind in (AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModel):
        check_weights(kind, folder)
    loading.new_classifier(folder, labels=["x", "y", "z"], pooling="cls", dropout=0.0)
    loading.load_masked_lm(folder, dropout=0.0)


@pytest.mark.parametrize("tied", [True, False])
def test_a_decoder_is_opened_with_its_head_tied_or_not(tied: bool, tmp_path: Path) -> None:
    whole = saved(
        tmp_path / "m", "gpt2", AutoModelForCausalLM, n_embd=16, n_layer=2, n_head=2, tie_word_embeddings=tied
    )
    bare = edited(whole, tmp_path / "b", lambda t: {n.removeprefix("transformer."): v for n, v in t.items()})
    for folder in (whole, bare):
        _, new = loading.load_causal_lm(folder, dropout=0.0)
        assert new == []


def test_old_names_of_norms_and_half_precision_are_opened(bert: Path, tmp_path: Path) -> None:
    for name, change in {"old": legacy_norms, "half": lambda t: {n: v.half() for n, v in t.items()}}.items():
        _, new = loading.load_masked_lm(edited(bert, tmp_path / name, change), dropout=0.0)
        assert new == []


def test_a_missing_shard_and_a_broken_file_are_refused(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "sharded")
    (tmp_path / "sharded/model.safetensors").unlink()
    AutoModelForMaskedLM.from_pretrained(bert).save_pretrained(tmp_path / "sharded", max_shard_size="8KB")
    check_weights(AutoModel, tmp_path / "sharded")
    sorted((tmp_path / "sharded").glob("model-*"))[1].unlink()
    shutil.copytree(bert, tmp_path / "broken")
    (tmp_path / "broken/model.safetensors").write_bytes(b"no weights")
    for name in ("sharded", "broken"):
        with pytest.raises(ConfigError, match="its weights cannot be read"):
            check_weights(AutoModel, tmp_path / name)


def test_an_adapter_beside_whole_weights_is_refused(bert: Path, tmp_path: Path) -> None:
    shutil.copytree(bert, tmp_path / "m")
    (tmp_path / "m/adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(ConfigError, match="an adapter beside a model"):
        check_weights(AutoModel, tmp_path / "m")


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "last.ckpt"])
@pytest.mark.parametrize("wrapper", ["", "module.", "model._orig_mod."])
def test_unwrap_gives_the_model_back(file: str, wrapper: str, bert: Path, tmp_path: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    wrapped = {wrapper + name: value for name, value in tensors.items()} | {"loss.weight": torch.ones(3)}
    shutil.copytree(bert, tmp_path / "m")
    (tmp_path / "m/model.safetensors").unlink()
    if file.endswith("safetensors"):
        save_file(wrapped, tmp_path / "m" / file)
    else:
        torch.save({"state_dict": wrapped, "epoch": 3} if file.endswith("ckpt") else wrapped, tmp_path / "m" / file)
    said = unwrap(tmp_path / "m", tmp_path / "new")
    assert ("1 tensors without it were left out" in said) == bool(wrapper)
    model, new = loading.load_masked_lm(tmp_path / "new", dropout=0.0)
    assert new == [] and all(torch.equal(model.model.state_dict()[name], value) for name, value in tensors.items())
    with pytest.raises(ConfigError, match="exists already"):
        unwrap(tmp_path / "m", tmp_path / "new")


def test_unwrap_refuses_what_no_prefix_explains(bert: Path, tmp_path: Path) -> None:
    folder = edited(bert, tmp_path / "m", lambda t: {f"x{i}": v for i, v in enumerate(t.values())})
    with pytest.raises(ConfigError, match="lack"):
        unwrap(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_wrapper_is_what_stands_before_a_wanted_name() -> None:
    assert wrapper_of(["layer.0.weight"], ["other", "module.bert.layer.0.weight"]) == "module.bert."
    assert wrapper_of(["layer.0.weight"], ["module.layer.0.bias"]) is None
