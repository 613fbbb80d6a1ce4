"""Make the embedded base model: a small BERT, trained from random weights on out-of-domain docstrings.

``make base-model`` runs this and writes adapt/assets/tiny. It takes hours on two cores; the result ships with the
repository, so that nobody needs to. The text is the `general` domain of adapt/data/pydoc.py: docstrings of openly
licensed packages, without the domain packages and without any text of the tasks' dev and test objects.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from adapt.config import (
    AdversaryConfig,
    MaskingConfig,
    OptimizerConfig,
    PretrainConfig,
    RetentionConfig,
    RuntimeConfig,
)
from adapt.data import corpora, pydoc
from adapt.stages.pretrain import pretrain
from adapt.stages.tokens import tokens

ASSET = Path(__file__).parent / "assets" / "tiny"
VOCABULARY = 8192
SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
SHAPE: dict[str, Any] = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 768}
MIN_WORDS = 8  # a shorter passage teaches little
CURVE_EVERY = 100  # steps whose mean loss makes one point of the curve
HELD_OUT = 50  # one passage in so many, by its hash, measures the loss
RECIPE = PretrainConfig(
    name="base",
    text="corpus",
    selection=None,
    leaks="drop",
    seed=0,
    masking=MaskingConfig(strategy="token", rate=0.15, span_length=3.0, anchors=100, importance_threshold=0.05),
    max_length=128,
    packing=False,
    batch_size=64,
    micro_batch_size=64,
    steps=0,
    head_steps=0,
    head_learning_rate=1e-3,
    evaluations=20,
    heldout_sequences=500,
    patience=None,
    dropout=0.0,
    optimizer=OptimizerConfig(
        learning_rate=2e-3,
        betas=[0.9, 0.98],
        eps=1e-6,
        weight_decay=0.01,
        schedule="linear",
        warmup_fraction=0.02,
        clip_norm=1.0,
        precision="bf16",
    ),
    retention=RetentionConfig(toward_start=0.0, layer_decay=1.0, frozen_layers=0),
)
PLAIN = AdversaryConfig(
    name="none",
    method={"_target_": "adapt.adversary.plain.plain", "_partial_": True},
    ball=None,
    dropout="fresh",
    float32=False,
    length=1.0,
    exempt={},
)


def base_text() -> corpora.Corpus:
    """The general domain's passages; the held-out ones by the hash of their text."""
    passages = [passage for passage in pydoc.corpus("general") if len(passage.split()) >= MIN_WORDS]
    held_out = {text for text in passages if int(hashlib.sha256(text.encode()).hexdigest(), 16) % HELD_OUT == 0}
    return corpora.Corpus([text for text in passages if text not in held_out], sorted(held_out), {})


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Lower-case WordPiece (Devlin et al., 2019) of VOCABULARY pieces, learned from ``texts`` alone."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=VOCABULARY, special_tokens=list(SPECIAL_TOKENS.values()), show_progress=False
        ),
    )
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", pieces.token_to_id("[CLS]")), ("[SEP]", pieces.token_to_id("[SEP]"))],
    )
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=128, **SPECIAL_TOKENS)


def random_model(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write a BERT of SHAPE, its weights drawn from RECIPE.seed, and the tokenizer as a transformers folder."""
    torch.manual_seed(RECIPE.seed)
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=128, pad_token_id=tokenizer.pad_token_id, **SHAPE
    )
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Train the base model in ``--work``, resuming what is there, and copy it with its SHA-256 to ASSET."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--work", type=Path, default=Path("outputs/base_model"))
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    start, text, read, out = (args.work / name for name in ("random", "text", "tokens", "trained"))
    if not (text / "report.json").exists():
        corpora.write_corpus(base_text(), text)
        random_model(start, train_tokenizer(corpora.load_corpus(text).train))
    out.mkdir(exist_ok=True)
    RECIPE.steps = args.steps
    runtime = RuntimeConfig(
        device="auto", checkpoint_seconds=120.0, progress=True, trackers=[], gradient_checkpointing=False
    )
    if not (read / "tokens.json").exists():  # the last file of the folder to be written
        read.mkdir(exist_ok=True)
        inputs = {"text": text, "tokenizer": start}
        tokens(None, inputs, read, runtime, max_length=RECIPE.max_length, packing=False, words=False)
    pretrain(RECIPE, {"model": start, "text": read}, out, runtime, adversary=PLAIN, snapshots=False)
    publish(out)


def publish(trained: Path) -> None:
    """Copy a trained folder to ASSET, with the checksum of its weights and its loss curve (nats, every 100 steps)."""
    ASSET.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(trained / name, ASSET / name)
    checksum = hashlib.sha256((ASSET / "model.safetensors").read_bytes()).hexdigest()
    (ASSET / "checksum.json").write_text(json.dumps({"model.safetensors": checksum}) + "\n")
    lines, recent = ["step,kind,loss"], []
    for entry in json.loads((trained / "training.json").read_text())["history"]:
        if "measured" in entry:
            lines.append(f"{entry['step']},heldout,{entry['measured']:.4f}")
            continue
        recent.append(entry["loss"])
        if entry["step"] % CURVE_EVERY == 0:
            lines.append(f"{entry['step']},train,{sum(recent) / len(recent):.4f}")
            recent = []
    (ASSET / "loss_curve.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
