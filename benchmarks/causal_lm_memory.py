"""Activation memory of a causal-LM training step: losses in chunks, against transformers' dense call with labels.

Decoders of GPT-2's shape, narrow enough for two cores, with random weights. Each call runs in its own process. Its peak
resident memory (VmHWM, reset by /proc/self/clear_refs: only on Linux) is measured over one forward and backward pass,
after a small first step that creates gradients and the optimizer's moments.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import torch

TARGET = 0.6
ROWS, LENGTH, VOCABULARY = 8, 512, 50265
SHAPES = ((256, 4), (768, 2))  # width, layers


def run() -> list[str]:
    """For each width: the two peaks and their ratio, the seconds of the passes, and the difference of the losses."""
    lines = [f"batch {ROWS} x {LENGTH}, vocabulary {VOCABULARY}; peak resident memory beyond that before the passes"]
    for width, layers in SHAPES:
        dense, ours = (child(kind, width, layers) for kind in ("dense", "chunks"))
        ratio = ours["bytes"] / dense["bytes"]
        lines.append(
            f"width {width}, {layers} layers: dense {dense['bytes'] / 1e6:,.0f} MB in {dense['seconds']:.1f} s, in "
            f"chunks {ours['bytes'] / 1e6:,.0f} MB in {ours['seconds']:.1f} s: {ratio:.0%}; losses differ by "
            f"{abs(ours['loss'] - dense['loss']):.1e}"
        )
    return [*lines, f"target: at most {TARGET:.0%}"]


def child(kind: str, width: int, layers: int) -> dict[str, float]:
    """What ``measure`` returns for one kind of call, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.causal_lm_memory", kind, str(width), str(layers)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(finished.stdout.splitlines()[-1])


def measure(kind: str, width: int, layers: int) -> dict[str, float]:
    """The bytes that a forward and backward pass of ``kind`` adds at its peak, its seconds, and its loss."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from adapt.data.masking.next_tokens import predict_next
    from adapt.models.language import CausalLM
    from adapt.training.costs import forget_peak, peak_resident_bytes

    torch.manual_seed(0)
    dropouts = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    shape = {"n_embd": width, "n_layer": layers, "n_head": width // 64, "n_positions": LENGTH}
    dense = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **shape, **dropouts)).train()
    model = CausalLM(dense)
    optimizer = torch.optim.AdamW(dense.parameters(), lr=0.0)  # weights stay the same, so losses must be equal

    def passes(rows: int, length: int) -> float:
        ids = torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))
        mask = torch.ones_like(ids)
        if kind == "dense":
            loss = dense(input_ids=ids, attention_mask=mask, labels=ids, use_cache=False).loss
        else:
            batch = predict_next({"input_ids": ids, "attention_mask": mask})
            loss = model(ids, mask, batch["positions"], batch["targets"]).mean()
        loss.backward()
        return loss.item()

    passes(1, 8)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    forget_peak()
    before, started = peak_resident_bytes(), time.perf_counter()
    loss = passes(ROWS, LENGTH)
    seconds = time.perf_counter() - started
    return {"bytes": peak_resident_bytes() - before, "seconds": seconds, "loss": loss}


if __name__ == "__main__":
    torch.set_num_threads(multiprocessing.cpu_count())
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
