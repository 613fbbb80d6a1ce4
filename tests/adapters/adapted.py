"""Shared by the tests of adapters: every option of conf/peft, tiny models that support it, a few steps of training."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from adversaries import CLS, PAD, SEP, VOCABULARY
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast

from adapt.adapters import stage
from adapt.checks.peft import LLAMA_ADAPTER, NOT_MERGEABLE, target
from adapt.checks.run import check_values
from adapt.config import Config, PeftConfig
from adapt.models import heads, loading

torch.set_num_threads(1)
CONF = Path(__file__).parents[2] / "conf"
LABELS = ["a", "b", "c"]
METHODS = [file.stem for file in sorted((CONF / "peft").glob("*.yaml")) if file.stem != "full"]
LLAMA = ["model.modules.attention=[q_proj,v_proj]", "model.modules.linear=[q_proj,k_proj,v_proj,o_proj]",
         "model.modules.ia3=[k_proj,v_proj,down_proj]", "model.modules.feedforward=[down_proj]",
         "model.modules.sublayers=[o_proj,down_proj]"]  # fmt: skip
SMALL = {"r": 4, "init_r": 4, "target_r": 2, "size": 4, "num_virtual_tokens": 3, "adapter_len": 3, "adapter_layers": 2}


@cache
def settings_of(name: str) -> dict[str, Any]:
    """The settings of an option file's method, as they stand there."""
    return yaml.safe_load((CONF / "peft" / f"{name}.yaml").read_text())["method"] or {}


@cache
def option(name: str, *more: str) -> PeftConfig:
    """An option file, cut to a size that fits 16 dimensions."""
    settings = settings_of(name)
    small = [f"peft.method.{key}={value}" for key, value in SMALL.items() if key in settings]
    names = LLAMA if settings.get("_target_") == LLAMA_ADAPTER else []
    return composed(f"peft={name}", "model.path=x", *names, *small, *more).peft


def composed(*overrides: str) -> Config:
    ConfigStore.instance().store(name="schema", node=Config)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return check_values(compose("config", overrides=["model=hf", "budget=smoke", *overrides]))


def architecture(cfg: PeftConfig) -> str:
    """A BERT, or a Llama for the method that only serves decoders."""
    return "llama" if target(cfg) == LLAMA_ADAPTER else "bert"


def mergeable(cfg: PeftConfig) -> bool:
    return target(cfg) not in NOT_MERGEABLE


def needs(cfg: PeftConfig) -> None:
    """Skip where the extra that a method needs is not installed."""
    if cfg.quantization is not None and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed: pip install .[quantized]")


def write_base(folder: Path, kind: str = "bert") -> Path:
    """A random language model with large weights, so that a small change shows."""
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    special = {"pad_token_id": PAD, "bos_token_id": CLS, "eos_token_id": SEP, "max_position_embeddings": 64}
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **special, **shape)
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM if kind in ("llama", "gpt2") else AutoModelForMaskedLM
    model = auto.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.normal_(std=0.3) if weight.ndim >= 2 else weight.add_(0.1 * torch.randn_like(weight))
            if "norm" in name.lower() and name.endswith("weight"):
                weight.abs_()
    model.save_pretrained(folder)
    return folder


class NoTokenizer:
    """Saves nothing: only the weights of these folders are read."""

    is_fast, model_max_length = False, 512

    def save_pretrained(self, folder: Path) -> None:
        pass


def classifier(folder: Path, cfg: PeftConfig, out: Path, *, pooling: str = "mean", seed: int = 0) -> heads.Classifier:
    """A classifier as fine-tuning starts with it."""
    torch.manual_seed(seed)
    model = loading.new_classifier(folder, labels=LABELS, pooling=pooling, dropout=0.0, adapted=cfg.inherit != "drop")
    stage.begin(model, cfg, out, unquantized=["pooler", "classifier", "cls"])
    return model


def language_model(folder: Path, cfg: PeftConfig, out: Path) -> Any:
    torch.manual_seed(0)
    model, new = loading.load_language_model(folder, dropout=0.0, adapted=cfg.inherit != "drop")
    stage.begin(model, cfg, out, new_weights=new, unquantized=["cls"])
    return model


def inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


@torch.no_grad()
def answers(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    model.eval()
    more = {} if isinstance(model, heads.HeadedEncoder) else {"positions": batch["positions"]}
    return model(**inputs(batch), **more)


def train(model: Any, loss: Any, *, steps: int = 3, rate: float = 0.05, skipped: Sequence[int] = ()) -> None:
    """Some steps of sign gradient descent, so that every weight that has a gradient moves.

    skipped: the numbers (from 1) of updates that are skipped, as with fp16 when gradients are not finite.
    """
    model.train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    penalty, after, memory = stage.penalty(model, None), stage.after_update(model, steps), {}
    for step in range(steps):
        loss(model).backward()
        if step + 1 in skipped:
            model.zero_grad()
            continue
        if penalty is not None:
            penalty(1.0)
        with torch.no_grad():
            for weight in trained:
                if weight.grad is not None:
                    weight.sub_(rate * weight.grad.sign())
        if after is not None:
            after(step + 1, memory)
        model.zero_grad()


def classification(batch: dict[str, torch.Tensor]) -> Any:
    return partial(
        lambda batch, model: torch.nn.functional.cross_entropy(model(**inputs(batch)), batch["labels"]), batch
    )


def guessing(batch: dict[str, torch.Tensor]) -> Any:
    return partial(
        lambda batch, model: model(**inputs(batch), positions=batch["positions"], targets=batch["targets"]).mean(),
        batch,
    )


def tokenizer() -> PreTrainedTokenizerFast:
    return NoTokenizer()  # type: ignore[return-value]
