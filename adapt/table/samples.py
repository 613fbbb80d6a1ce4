"""What the language models of runs wrote, beside their rows: ``<root>/samples/<run_id>.jsonl``. Imports no torch."""

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
    """Whether there are texts that the run's language model wrote."""
    return _samples_of(root, run_id).exists()


def write(root: Path | str, run_id: str, lines: str) -> None:
    """Keep what a run's language model wrote, JSON lines as adapt.stages.samples has them: whole, then renamed."""
    replace(_samples_of(root, run_id), lines)


def samples(root: Path | str, run_id: str) -> pd.DataFrame:
    """What the language model that the run fine-tuned wrote after the beginnings of held-out texts.

    One row a prompt and way to go on. Columns: prompt_hash (the same in every run that was asked this), prompt,
    decoding (greedy, sampled; truth: what the text itself goes on with), answer, ended (by the model, rather than cut),
    tokens, repetition (seq-rep-4; missing in an answer of fewer than 4 tokens). No row for a run without.
    """
    path = _samples_of(root, run_id)
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []  # splitlines cuts at U+2028 too
    table = pd.DataFrame([json.loads(line) for line in lines if line], columns=list(SAMPLED))
    return table.astype(SAMPLED)


def _samples_of(root: Path | str, run_id: str) -> Path:
    return Path(root, "samples", f"{run_id}.jsonl")
