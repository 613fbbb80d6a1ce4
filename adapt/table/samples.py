"""The texts that the language models of runs wrote, in ``<root>/samples/<run_id>.jsonl``. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from adapt.store.files import replace

SAMPLED = {
    **{"prompt_hash": "str", "prompt": "str", "decoding": "str", "answer": "str"},
    **{"ended": "bool", "tokens": "int64", "repetition": "float64"},
}


def exists(root: Path | str, run_id: str) -> bool:
    """Whether there is a file of the texts that the run's language model wrote."""
    return _samples_of(root, run_id).exists()


def write(root: Path | str, run_id: str, lines: str) -> None:
    """Write what a run's language model wrote, as JSON lines of adapt.stages.samples, atomically."""
    replace(_samples_of(root, run_id), lines)


def samples(root: Path | str, run_id: str) -> pd.DataFrame:
    """What the run's fine-tuned language model wrote, prompted with the beginnings of held-out texts.

    One row per prompt and decoding. Columns: prompt_hash (the same in every run with this prompt), prompt, decoding
    (greedy, sampled, or truth: the continuation of the text itself), answer, ended (by the model, not cut off), tokens,
    repetition (seq-rep-4; missing if the answer has fewer than 4 tokens). No rows for a run without samples.
    """
    path = _samples_of(root, run_id)
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []  # splitlines cuts at U+2028 too
    table = pd.DataFrame([json.loads(line) for line in lines if line], columns=list(SAMPLED))
    return table.astype(SAMPLED)


def _samples_of(root: Path | str, run_id: str) -> Path:
    return Path(root, "samples", f"{run_id}.jsonl")
