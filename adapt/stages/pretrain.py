"""Continued pretraining: masked-LM training of a folder's encoder on a corpus, DAPT and TAPT alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from adapt import models, training
from adapt.checkpoint import Progress
from adapt.config import AdversaryConfig, OptimizerConfig, PretrainConfig, RuntimeConfig
from adapt.costs import costs, forget_peak
from adapt.data import batching, corpora, masking
from adapt.measurement import measurement
from adapt.objectives import MaskedLanguageModel, example_losses
from adapt.optimization import decay_groups
from adapt.steps import PLAIN, Adversary

VERSION = 2
HELD_OUT_SEED = 0


def pretrain(
    cfg: PretrainConfig,
    inputs: dict[str, Path],
    out: Path,
    runtime: RuntimeConfig,
    *,
    adversary: AdversaryConfig,
) -> list[dict[str, Any]]:
    """Train on ``inputs["text"]`` (a corpus folder) from ``inputs["model"]`` (any model folder); save into ``out``.

    Takes weights and tokenizer from the parent and nothing else of it: never its optimizer, schedule or step count.
    Returns the stage's measurements: held-out loss on fixed masks before and after, and the cost.
    """
    torch.manual_seed(cfg.seed)
    tokenizer = models.load_tokenizer(inputs["model"])
    model, new_weights = models.load_masked_lm(inputs["model"], dropout=cfg.dropout)
    text = corpora.load_corpus(inputs["text"])
    data = batching.chunk(tokenizer, text.train, cfg.max_length)
    held_out = HeldOut.fixed(tokenizer, text.heldout, cfg)
    device = training.device(runtime)
    model.to(device)
    if cfg.head_steps and new_weights:
        warm_head(model, tokenizer, data, cfg, held_out, out, runtime)
    if runtime.gradient_checkpointing:
        models.checkpoint_gradients(model)
    steps = max(1, round(cfg.steps * adversary.length))
    before = held_out.loss(model, device)
    forget_peak()
    progress = training.train(
        model,
        name=cfg.name,
        objective=MaskedLanguageModel(),
        plan=plan(tokenizer, data, cfg, steps),
        adversary=Adversary.of(adversary),
        optimizer_config=cfg.optimizer,
        parameter_groups=decay_groups(model, None, None),
        selection=selection(held_out, model, device, cfg, steps),
        seed=cfg.seed,
        folder=out,
        runtime=runtime,
    )
    after = held_out.loss(model, device)
    model.cpu().save(out, tokenizer)
    record = {"before": before, "after": after, "new_weights": new_weights, "best_step": progress.best_step}
    (out / "training.json").write_text(json.dumps({**record, "history": progress.history}) + "\n")
    return measurements(before, after, progress)


def warm_head(
    model: models.MaskedLM,
    tokenizer: PreTrainedTokenizerBase,
    data: batching.Encoded,
    cfg: PretrainConfig,
    held_out: HeldOut,
    out: Path,
    runtime: RuntimeConfig,
) -> None:
    """Train a new masked-LM head alone: a random head's gradients would first destroy the encoder under it."""
    head = model.head_parameters()
    constant = OptimizerConfig(
        **{**vars(cfg.optimizer), "learning_rate": cfg.head_learning_rate, "schedule": "constant"}
    )
    frozen = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    training.train(
        model,
        name=f"{cfg.name}-head",
        objective=MaskedLanguageModel(),
        plan=plan(tokenizer, data, cfg, cfg.head_steps),
        adversary=PLAIN,
        optimizer_config=constant,
        parameter_groups=[{"params": head}],
        selection=selection(held_out, model, training.device(runtime), cfg, cfg.head_steps),
        seed=cfg.seed + 1,
        folder=out,
        runtime=runtime,
    )
    for parameter in frozen:
        parameter.requires_grad_(True)


def plan(tokenizer: PreTrainedTokenizerBase, data: batching.Encoded, cfg: PretrainConfig, steps: int) -> training.Plan:
    """``steps`` steps over shuffles of ``data``, with masks that are new at each step."""

    def epoch(number: int) -> list[list[int]]:
        return batching.shuffled_batches(data.lengths, cfg.batch_size, seed=cfg.seed, epoch=number)

    def collate(indices: list[int], step: int) -> training.Batch:
        batch = batching.collate(tokenizer, data, indices)
        return masking.mask_tokens(batch, tokenizer, rate=cfg.mask_rate, seed=cfg.seed, draw=step)

    return training.Plan(epoch, collate, steps, cfg.micro_batch_size)


def selection(
    held_out: HeldOut, model: models.MaskedLM, device: torch.device, cfg: PretrainConfig, steps: int
) -> training.Selection:
    """The lowest held-out loss wins; measured about ``cfg.evaluations`` times, at most once a step."""
    every = max(1, steps // cfg.evaluations)
    return training.Selection(lambda: held_out.loss(model, device), every, "min", cfg.patience)


@dataclass
class HeldOut:
    """Held-out text under one fixed draw of masks, so that losses of different models and steps compare."""

    batches: list[training.Batch]

    @classmethod
    def fixed(cls, tokenizer: PreTrainedTokenizerBase, texts: list[str], cfg: PretrainConfig) -> HeldOut:
        """The first ``cfg.heldout_sequences`` texts, chunked; their masks do not depend on ``cfg.seed``."""
        data = batching.chunk(tokenizer, texts[: cfg.heldout_sequences], cfg.max_length)
        order = batching.sorted_batches(data.lengths, cfg.micro_batch_size)
        batches = [batching.collate(tokenizer, data, indices) for indices in order]
        draw = masking.HELD_OUT_DRAW
        return cls(
            [masking.mask_tokens(b, tokenizer, rate=cfg.mask_rate, seed=HELD_OUT_SEED, draw=draw) for b in batches]
        )

    @torch.no_grad()
    def loss(self, model: models.MaskedLM, device: torch.device) -> float:
        """Mean cross-entropy in nats over all predicted tokens of the held-out text."""
        objective = MaskedLanguageModel()
        training_before = model.training
        model.eval()
        total, items = 0.0, 0
        for batch in self.batches:
            moved = {name: value.to(device) for name, value in batch.items()}
            total += example_losses(objective, model, moved).sum().item()
            items += objective.items(moved)
        model.train(training_before)
        return total / items


def measurements(before: float, after: float, progress: Progress) -> list[dict[str, Any]]:
    """Held-out loss before and after, and the cost; the pipeline puts the stage's name before the split."""
    losses = {"mlm_loss_before": before, "mlm_loss": after}
    held_out = [measurement("heldout", metric, value) for metric, value in losses.items()]
    return held_out + [measurement("train", metric, value) for metric, value in costs(progress).items()]
