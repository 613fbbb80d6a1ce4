"""A masked-LM step with the vocabulary projected at predicted tokens alone, against the dense projection.

The model has MiniLM's shape (6 x 384, 30522 words) and random weights, which changes no time. The two steps alternate
within one run, on the same batches.
"""

from __future__ import annotations

import statistics
import time

import torch
from transformers import BertConfig, BertForMaskedLM

from adapt.models import MaskedLM

TARGET = 1.7
ROWS, LENGTH, PREDICTED, STEPS = 16, 128, 0.15, 12


def run() -> list[str]:
    """The ratio of the median step times, and the largest difference of the two losses."""
    torch.manual_seed(0)
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    dense = BertForMaskedLM(
        BertConfig(vocab_size=30522, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **shape)
    )
    sparse = MaskedLM(dense)
    optimizer = torch.optim.AdamW(dense.parameters(), lr=0.0)  # equal weights throughout: equal losses
    seconds: dict[str, list[float]] = {"dense": [], "sparse": []}
    apart = 0.0
    for _ in range(STEPS):
        ids = torch.randint(1000, 30000, (ROWS, LENGTH))
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
                logits = sparse(input_ids=ids, attention_mask=mask, positions=positions)
                loss = torch.nn.functional.cross_entropy(logits, ids.flatten()[positions])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds[kind].append(time.perf_counter() - started)
            losses[kind] = loss.item()
        apart = max(apart, abs(losses["dense"] - losses["sparse"]))
    medians = {kind: statistics.median(values[2:]) for kind, values in seconds.items()}
    ratio = medians["dense"] / medians["sparse"]
    return [
        f"dense {medians['dense']:.2f} s, at predicted tokens {medians['sparse']:.2f} s: {ratio:.2f} times faster",
        f"target: at least {TARGET}; losses differ by at most {apart:.1e}",
    ]
