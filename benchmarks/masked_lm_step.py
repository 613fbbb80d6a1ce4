"""A masked-LM step with the vocabulary projected at predicted tokens alone, against the dense projection.

The dense step is the model call of transformers' run_mlm.py: labels at every position, -100 where nothing is predicted.
Its Trainer and collator are left out, so the ratio is of the step alone. Random weights change no time. The two steps
alternate within one run, on the same batches and masks.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from adapt.models import MaskedLM

PREDICTED, LENGTH = 0.15, 128
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclass(frozen=True)
class Shape:
    """A model, the batch that it is timed on, and how many times faster the step must be."""

    name: str
    model: type[PreTrainedModel]
    config: PretrainedConfig
    rows: int
    steps: int
    target: float


MINILM = BertConfig(
    vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, **NO_DROPOUT
)
ROBERTA = RobertaConfig(vocab_size=50265, max_position_embeddings=514, **NO_DROPOUT)
SHAPES = (
    Shape("MiniLM (6 x 384, 30,522 tokens)", BertForMaskedLM, MINILM, rows=16, steps=12, target=1.7),
    Shape("RoBERTa-base (12 x 768, 50,265 tokens)", RobertaForMaskedLM, ROBERTA, rows=4, steps=6, target=1.2),
)


def run() -> list[str]:
    """For each shape the ratio of the median step times, and the largest difference of the two losses."""
    return [line for shape in SHAPES for line in compared(shape)]


def compared(shape: Shape) -> list[str]:
    """Both steps in turn on the same batches; the first of each warms up and does not count."""
    torch.manual_seed(0)
    dense = shape.model(shape.config)
    sparse = MaskedLM(dense)
    optimizer = torch.optim.AdamW(dense.parameters(), lr=0.0)  # equal weights throughout: equal losses
    seconds: dict[str, list[float]] = {"dense": [], "sparse": []}
    apart = 0.0
    for _ in range(shape.steps):
        ids = torch.randint(1000, 30000, (shape.rows, LENGTH))
        mask = torch.ones_like(ids)
        positions = torch.randperm(ids.numel())[: round(PREDICTED * ids.numel())].sort().values
        labels = torch.full_like(ids, -100).flatten()
        labels[positions] = ids.flatten()[positions]
        losses = {}
        for kind in ("dense", "sparse"):
            started = time.perf_counter()
            if kind == "dense":
                loss = dense(input_ids=ids, attention_mask=mask, labels=labels.view_as(ids)).loss
            else:
                targets = ids.flatten()[positions]
                loss = sparse(input_ids=ids, attention_mask=mask, positions=positions, targets=targets).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds[kind].append(time.perf_counter() - started)
            losses[kind] = loss.item()
        apart = max(apart, abs(losses["dense"] - losses["sparse"]))
    ratio = statistics.median(
        one / other for one, other in zip(seconds["dense"][1:], seconds["sparse"][1:], strict=True)
    )
    medians = {kind: statistics.median(values[1:]) for kind, values in seconds.items()}
    return [
        f"{shape.name}: dense {medians['dense']:.2f} s, at predicted tokens {medians['sparse']:.2f} s: "
        f"{ratio:.2f} times faster (target: at least {shape.target}; losses differ by at most {apart:.1e})"
    ]
