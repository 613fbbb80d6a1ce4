"""The table of a run's predictions on test: predicted and gold labels, and whether an example is free of leaks.

Reads only the folders of finished stages. An evaluation that older code built gets its table without a rebuild.
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


def prediction_table(evaluation: Path, task: Path, clean: list[int], attack: AttackConfig | None) -> pd.DataFrame:
    """One row per test example, or per word for a tagger. Columns: see adapt.results.predictions.

    evaluation, task: the folders of these stages. clean: the ids of the test examples without a leak. attack: the
    attack on embeddings that the evaluation ran, if any.
    """
    loaded = tasks.load_task(task)
    examples = loaded.splits[TEST]
    answers = tasks.KINDS[loaded.kind].read_answers(evaluation, TEST, loaded.labels, examples)
    predictions = without_attack(answers, set(clean))
    for name, codes in _under_attack(evaluation, len(examples), attack).items():
        predictions[f"answer@{name}"] = named(codes, loaded.labels)
    return pd.concat([predictions, pd.DataFrame(answers.columns)], axis=1)


def without_attack(answers: Answers, clean: set[int]) -> pd.DataFrame:
    """The columns that every run has; clean: the ids of the examples without a leak."""
    hashes = {example.id: text_hash(example.texts) for example, _ in answers.places}
    return pd.DataFrame(
        {
            "example": np.array([example.id for example, _ in answers.places], dtype="int32"),
            "word": np.array([place for _, place in answers.places], dtype="int32"),
            "text_hash": pd.Categorical([hashes[example.id] for example, _ in answers.places]),
            "gold": answers.gold,
            "predicted": answers.predicted,
            "correct": answers.gold == answers.predicted,
            "clean": [example.id in clean for example, _ in answers.places],
        }
    )


def text_hash(texts: Sequence[str]) -> str:
    """The first 16 hex digits of sha256 over an example's texts as JSON: the same in every split, run and study."""
    return hashlib.sha256(json.dumps(list(texts), ensure_ascii=False).encode()).hexdigest()[:16]


def _under_attack(evaluation: Path, n: int, attack: AttackConfig | None) -> dict[str, np.ndarray]:
    """Maps '<epsilon>' or 'text:<recipe>' to the predicted label indices [n]; -1: the example was not attacked."""
    predicted = {}
    if attack is not None and (evaluation / ATTACKED).exists():
        table = pd.read_parquet(evaluation / ATTACKED)
        single = len(attack.members) == 1  # its rows go by the radius of the attack, not by the norm of what it found
        fooled_at = table[f"{attack.members[0]}.epsilon" if single else "epsilon"]
        for epsilon in sorted({*attack.epsilons} - {0.0}):
            answer = table["answer"].where(fooled_at <= epsilon, table["clean_answer"])
            predicted[f"{epsilon:g}"] = _at_places(range(len(table)), answer, n)
    if (evaluation / TEXT_ATTACKED).exists():
        for recipe, rows in pd.read_parquet(evaluation / TEXT_ATTACKED).groupby("recipe", sort=False):
            predicted[f"text:{recipe}"] = _at_places(rows["example"], rows["predicted"].fillna(-1), n)
    return predicted


def _at_places(places: Sequence[int] | pd.Series, values: pd.Series, n: int) -> np.ndarray:
    codes = np.full(n, -1, dtype="int64")
    codes[np.asarray(places)] = values.astype("int64")
    return codes
