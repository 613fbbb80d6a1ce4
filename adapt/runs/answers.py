"""What a run answered on test, one row an example: made from what its evaluation keeps, beside gold and clean marks.

Reads the folders of finished stages alone, so that an evaluation of older code gets its file without being built again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from adapt.config import AttackConfig
from adapt.data import tasks
from adapt.data.kinds.kind import Answers, named
from adapt.data.splits import TEST

ATTACKED, TEXT_ATTACKED = "attacked.parquet", "text_attacks.parquet"


def answers(evaluation: Path, task: Path, clean: list[int], attack: AttackConfig | None) -> pd.DataFrame:
    """One row for each answer to a test example: of a tagger one a word. Columns: see adapt.results.predictions.

    evaluation, task: folders of these stages. clean: the ids of the clean test examples. attack: the one on embeddings
    that the evaluation ran, if any.
    """
    known = tasks.load_task(task)
    examples = known.splits[TEST]
    kept = tasks.KINDS[known.kind].read_answers(evaluation, TEST, known.labels, examples)
    found = table(kept, set(clean))
    for name, codes in _under_attack(evaluation, len(examples), attack).items():
        found[f"answer@{name}"] = named(codes, known.labels)
    return pd.concat([found, pd.DataFrame(kept.columns)], axis=1)


def table(kept: Answers, clean: set[int]) -> pd.DataFrame:
    """Answers beside what was asked; clean: the ids of the clean examples."""
    hashes = {example.id: text_hash(example.texts) for example, _ in kept.places}
    return pd.DataFrame(
        {
            "example": np.array([example.id for example, _ in kept.places], dtype="int32"),
            "word": np.array([place for _, place in kept.places], dtype="int32"),
            "text_hash": pd.Categorical([hashes[example.id] for example, _ in kept.places]),
            "gold": kept.gold,
            "predicted": kept.predicted,
            "correct": kept.gold == kept.predicted,
            "clean": [example.id in clean for example, _ in kept.places],
        }
    )


def text_hash(texts: Sequence[str]) -> str:
    """The first 16 hex digits of sha256 over an example's texts as JSON: the same wherever the example stands."""
    return hashlib.sha256(json.dumps(list(texts), ensure_ascii=False).encode()).hexdigest()[:16]


def _under_attack(evaluation: Path, n: int, attack: AttackConfig | None) -> dict[str, np.ndarray]:
    """By '<epsilon>' or 'text:<recipe>' the indices of the answers [n]; -1 for an example that was not attacked."""
    found = {}
    if attack is not None and (evaluation / ATTACKED).exists():
        table = pd.read_parquet(evaluation / ATTACKED)
        alone = len(attack.members) == 1  # then its rows go by the radius at which it was run, not by the norm it found
        fell = table[f"{attack.members[0]}.epsilon" if alone else "epsilon"]
        for epsilon in sorted({*attack.epsilons} - {0.0}):
            answer = table["answer"].where(fell <= epsilon, table["clean_answer"])
            found[f"{epsilon:g}"] = _at_places(range(len(table)), answer, n)
    if (evaluation / TEXT_ATTACKED).exists():
        for recipe, rows in pd.read_parquet(evaluation / TEXT_ATTACKED).groupby("recipe", sort=False):
            found[f"text:{recipe}"] = _at_places(rows["example"], rows["predicted"].fillna(-1), n)
    return found


def _at_places(places: Sequence[int] | pd.Series, values: pd.Series, n: int) -> np.ndarray:
    codes = np.full(n, -1, dtype="int64")
    codes[np.asarray(places)] = values.astype("int64")
    return codes
