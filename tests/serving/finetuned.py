"""Bases with a tokenizer, and classifiers fine-tuned on them by every option of conf/peft."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch
from adapted import METHODS, architecture, classification, option, train, write_base
from adversaries import CLASSES, CLS, MASK, PAD, SEP, VOCABULARY, make_batch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers import models as pieces
from transformers import PreTrainedTokenizerFast

from adapt.adapters import stage
from adapt.models import loading

EVERY = [*METHODS, "stacked", "probe"]  # and two LoRAs, one over the other; a new head on the base as it is
WORDS = [f"w{number}" for number in range(5, VOCABULARY)]


def tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, from ``w5`` to the last of the vocabulary."""
    special = {"[PAD]": PAD, "[CLS]": CLS, "[SEP]": SEP, "[MASK]": MASK}
    known = {**special, **{word: number for number, word in enumerate(words, start=5)}}
    unknown = next(number for number in range(5) if number not in special.values())
    result = Tokenizer(pieces.WordLevel({**known, "[UNK]": unknown}, unk_token="[UNK]"))
    result.pre_tokenizer = pre_tokenizers.Whitespace()
    result.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=result, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        unk_token="[UNK]", model_max_length=64,
    )  # fmt: skip


def write_bases(top: Path) -> dict[str, Path]:
    for kind in ("bert", "llama"):
        write_base(top / kind, kind)
        tokenizer().save_pretrained(top / kind)
    return {kind: top / kind for kind in ("bert", "llama")}


def base_of(method: str) -> str:
    return architecture(option(method)) if method in METHODS else "bert"


def finetune(base: Path, method: str, out: Path, *, pooling: str, labels: int, seed: int) -> None:
    """Train some steps from a base, and save, as a fine-tuning stage does."""
    names = [f"{method}{seed}/{label}" for label in range(labels)]
    if method == "stacked":
        finetune(base, "lora", out.with_name(f"{out.name}_below"), pooling=pooling, labels=labels, seed=seed + 1)
        base = out.with_name(f"{out.name}_below")
    named = {"stacked": "lora", "probe": "head_only"}.get(method, method)
    cfg = option(named, *(["peft.inherit=stack"] if method == "stacked" else []))
    torch.manual_seed(zlib.crc32(f"{method} {seed} {pooling}".encode()))
    model = loading.new_classifier(base, labels=names, pooling=pooling, dropout=0.0)
    stage.begin(model, cfg, out, unquantized=["pooler", "classifier", "cls"])
    batch = make_batch(6, seed=seed)
    batch["labels"] %= min(labels, CLASSES)
    train(model, classification(batch))
    if method == "probe":
        model.model.adaptation = None  # saved whole, as a linear probe is
    model.save(out, tokenizer(), names)
