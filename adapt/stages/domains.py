"""What an adapted model learned and forgot: its language-model loss on the held-out text of each domain."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from adapt.config import DomainsConfig, RuntimeConfig
from adapt.data.tokens.tokens import load_tokens
from adapt.models import language, loading
from adapt.table.measurement import measurement
from adapt.tasks.heldout import HeldOut, Losses
from adapt.tasks.language_modelling import LanguageModelling, load_for_measuring
from adapt.training import loop

KEY_NAME = "stages.domains"
VERSION = 1
log = logging.getLogger(__name__)


def domains(
    cfg: DomainsConfig, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, batch_size: int
) -> list[dict[str, Any]]:
    """Measure ``inputs["model"]`` on the held-out sequences of each text in ``cfg.texts`` (input ``text.<name>``).

    All models with the same vocabulary are measured on the same sequences with the same masks. A model whose
    language-model head is untrained gives no rows.
    """
    return measured(inputs["model"], cfg, inputs, batch_size=batch_size, device=loop.device(runtime))


def measured(
    folder: Path, cfg: DomainsConfig, inputs: dict[str, Path], *, batch_size: int, device: torch.device, split: str = ""
) -> list[dict[str, Any]]:
    """The rows of one model: for each text, losses by token and by document; their split is ``split`` + its name."""
    tokenizer = loading.load_tokenizer(folder)
    task = load_for_measuring(folder, tokenizer)
    if task.new_weights:
        log.info("%s: its language-model head is untrained (%s is new): no loss", split or folder, task.new_weights[0])
        return []
    task.model.to(device)
    rows = []
    for name in cfg.texts:
        sequences = load_tokens(inputs[f"text.{name}"]).heldout
        held_out = HeldOut.fixed(task, tokenizer, sequences, limit=cfg.sequences, batch_size=batch_size)
        losses = held_out.losses(task, device).finite(f"{folder}: held-out text of {name}")
        rows += rows_of(f"{split}{name}", task, tokenizer, held_out, losses)
    return rows


def rows_of(
    split: str, task: LanguageModelling, tokenizer: PreTrainedTokenizerBase, held_out: HeldOut, losses: Losses
) -> list[dict[str, Any]]:
    """The losses in nats: the mean over predicted tokens, and the mean over documents of each document's mean.

    Loss per token only compares models with the same vocabulary. Bits per character compare any models, but exist only
    for next-token prediction. Masked tokens are predicted from both sides, so their losses do not add up to the
    information in a text, and a longer token hides more of the text at once.
    """
    causal = isinstance(task.model, language.CausalLM)
    kind = "clm" if causal else "mlm"
    rows = [
        measurement(split, f"{kind}_loss", losses.token, n=losses.tokens),
        measurement(split, f"{kind}_document_loss", losses.document, n=losses.documents),
    ]
    if causal:
        count = characters(tokenizer, held_out)
        bits = losses.token * losses.tokens / math.log(2)
        rows.append(measurement(split, "clm_bits_per_character", bits / count, n=count))
    return rows


def characters(tokenizer: PreTrainedTokenizerBase, held_out: HeldOut) -> int:
    """The number of characters in the predicted tokens; special tokens have none."""
    total = 0
    for batch in held_out.batches:
        for row in batch["rows"].unique():
            predicted = batch["targets"][batch["rows"] == row].tolist()
            total += len(tokenizer.decode(predicted, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return total
