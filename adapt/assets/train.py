"""Make an embedded base model: a small language model, trained from random weights on out-of-domain docstrings.

``make base-model`` runs this for each model and writes adapt/assets/<model>. It takes hours on two cores; the result is
part of the repository, so nobody has to run it. The text is the `general` domain of adapt/data/pydoc/corpus.py:
docstrings of openly licensed packages, without the domain packages and without any text of the tasks' dev and test
objects.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from adapt.assets.architectures import byte_pairs, random_bert, random_llama, word_pieces
from adapt.config import (
    AdversaryConfig,
    MaskingConfig,
    OptimizerConfig,
    PretrainConfig,
    RetentionConfig,
    RuntimeConfig,
)
from adapt.data import corpora
from adapt.data.pydoc import corpus
from adapt.data.tokens.tokens import load_tokens
from adapt.models import language, loading
from adapt.stages.pretrain import pretrain
from adapt.stages.tokens import tokens
from adapt.tasks.heldout import HeldOut
from adapt.tasks.language_modelling import load_for_measuring

ASSETS = Path(__file__).parent
MIN_WORDS = 8  # shorter passages are left out: they teach little
CURVE_EVERY = 100  # steps whose mean loss is one point of the curve
HELD_OUT = 50  # one passage in 50, chosen by its hash, is held out to measure the loss
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


@dataclass(frozen=True)
class Base:
    """What an embedded base model starts from, and how it is trained."""

    tokenizer: Callable[[Iterable[str]], PreTrainedTokenizerFast]
    model: Callable[[PreTrainedTokenizerFast], PreTrainedModel]
    recipe: PretrainConfig


BASES = {
    "tiny": Base(word_pieces, random_bert, replace(RECIPE, steps=12_000)),
    "tiny_decoder": Base(
        byte_pairs,
        random_llama,
        replace(
            RECIPE,
            steps=5_000,
            max_length=256,
            batch_size=8,  # with batches of 64, the same compute gives too few steps to learn much
            micro_batch_size=8,
            evaluations=10,
            optimizer=replace(RECIPE.optimizer, precision="no", warmup_fraction=0.05),
        ),
    ),
}


def base_text() -> corpora.Corpus:
    """The passages of the general domain; which are held out depends on the hash of their text."""
    passages = [passage for passage in corpus.corpus("general") if len(passage.split()) >= MIN_WORDS]
    held_out = {text for text in passages if int(hashlib.sha256(text.encode()).hexdigest(), 16) % HELD_OUT == 0}
    return corpora.Corpus([text for text in passages if text not in held_out], sorted(held_out), {})


def main() -> None:
    """Train a base model in ``--work``, resuming what is there, and copy it to the assets with its SHA-256."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=list(BASES), default="tiny")
    parser.add_argument("--steps", type=int, help="number of steps, instead of the recipe's")
    parser.add_argument("--work", type=Path, default=Path("outputs/base_model"))
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    base, text = BASES[args.model], args.work / "text"
    recipe = base.recipe if args.steps is None else replace(base.recipe, steps=args.steps)
    start, read, out = (args.work / args.model / name for name in ("random", "tokens", "trained"))
    if not (text / "report.json").exists():
        corpora.write_corpus(base_text(), text)
    if not (start / "tokenizer.json").exists():  # the last file that is written to the folder
        torch.manual_seed(recipe.seed)
        tokenizer = base.tokenizer(corpora.load_corpus(text).train)
        base.model(tokenizer).save_pretrained(start)
        tokenizer.save_pretrained(start)
    runtime = RuntimeConfig(
        device="auto", checkpoint_seconds=120.0, progress=True, trackers=[], gradient_checkpointing=False
    )
    if not (read / "tokens.json").exists():  # the last file that is written to the folder
        read.mkdir(parents=True, exist_ok=True)
        inputs = {"text": text, "tokenizer": start}
        tokens(None, inputs, read, runtime, max_length=recipe.max_length, packing=recipe.packing, words=False)
    out.mkdir(exist_ok=True)
    rows = pretrain(recipe, {"model": start, "text": read}, out, runtime, adversary=PLAIN, snapshots=False)
    publish(out, ASSETS / args.model)
    cost = {row["metric"]: row["value"] for row in rows if row["split"] == "train"}
    (ASSETS / args.model / "README.md").write_text(card(args.model, out, read, text, cost))


def publish(trained: Path, asset: Path) -> None:
    """Copy a trained model to ``asset``, with the checksum of its weights and its losses (nats, means of 100 steps)."""
    asset.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(trained / name, asset / name)
    checksum = hashlib.sha256((asset / "model.safetensors").read_bytes()).hexdigest()
    (asset / "checksum.json").write_text(json.dumps({"model.safetensors": checksum}) + "\n")
    lines, recent = ["step,kind,loss"], []
    for entry in json.loads((trained / "training.json").read_text())["history"]:
        if "measured" in entry:
            lines.append(f"{entry['step']},heldout,{entry['measured']:.4f}")
            continue
        recent.append(entry["loss"])
        if entry["step"] % CURVE_EVERY == 0:
            lines.append(f"{entry['step']},train,{sum(recent) / len(recent):.4f}")
            recent = []
    (asset / "loss_curve.csv").write_text("\n".join(lines) + "\n")


def card(name: str, trained: Path, read: Path, text: Path, cost: dict[str, float]) -> str:
    """The README of a model: what it is, its loss on all held-out passages, and a decoder's perplexity.

    cost: of the training: trainable_parameters, steps, tokens (without padding) and train_seconds. Perplexity is given
    per token and per byte. Per byte, the nats of all tokens and of the end of text are divided by the bytes of the
    passages, so that models with different vocabularies are comparable.
    """
    tokenizer = loading.load_tokenizer(trained)
    task = load_for_measuring(trained, tokenizer)
    held_out = HeldOut.fixed(task, tokenizer, load_tokens(read).heldout, limit=None, batch_size=64)
    losses = held_out.losses(task, torch.device("cpu"))
    what = [
        f"{cost['trainable_parameters']:,.0f} parameters, {len(tokenizer):,} tokens, {name}: a "
        f"{task.model.model.config.model_type} of {task.model.model.config.num_hidden_layers} layers x "
        f"{task.model.model.config.hidden_size}",
        f"trained from random weights on {len(corpora.load_corpus(text).train):,} docstrings of no domain: "
        f"{cost['steps']:,.0f} steps, {cost['tokens']:,.0f} tokens, {cost['train_seconds'] / 60:,.0f} minutes",
        f"loss on {losses.documents:,} held-out passages: {losses.token:.4f} nats per predicted token "
        f"({losses.tokens:,} tokens)",
    ]
    if isinstance(task.model, language.CausalLM):
        size = sum(len(passage.encode()) for passage in corpora.load_corpus(text).heldout)
        nats = losses.token * losses.tokens / size
        what.append(
            f"perplexity {math.exp(losses.token):.2f} per token, {math.exp(nats):.3f} per byte "
            f"({nats / math.log(2):.3f} bits per byte)"
        )
    return f"# {name}\n\n" + "".join(f"- {line}\n" for line in what)


if __name__ == "__main__":
    main()
