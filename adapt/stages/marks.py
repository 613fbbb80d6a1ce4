"""Marks the tokens of a text that matter to a task, by the token classifier of an importance stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from adapt.config import RuntimeConfig
from adapt.data.masking.marks import FILE, marked, write_marks
from adapt.data.tokens.tokens import Ids, Sequences, load_tokens
from adapt.models import loading
from adapt.table.measurement import measurement
from adapt.tasks.marking import each_token, log_odds, read_cut
from adapt.tasks.tagging import load_tagger
from adapt.training import loop

KEY_NAME = "stages.marks"
VERSION = 1
SEQUENCES = 1024  # marked at a time: they are in memory together, and are one batch of the file


def marks(
    argument: None, inputs: dict[str, Path], out: Path, runtime: RuntimeConfig, *, batch_size: int
) -> list[dict[str, Any]]:
    """Mark the training sequences of ``inputs["tokens"]`` by the token classifier of ``inputs["importance"]``.

    Returns the share of ordinary tokens that are marked, and the share of sequences without an important token.
    """
    sequences = load_tokens(inputs["tokens"]).train
    tokenizer = loading.load_tokenizer(inputs["importance"])
    device = loop.device(runtime)
    model = load_tagger(inputs["importance"])[0].to(device).eval()
    cut = read_cut(inputs["importance"])
    counts = {"tokens": 0, "marked": 0, "unimportant": 0}

    def batches() -> Iterator[list[NDArray[np.bool_]]]:
        firsts = range(0, len(sequences), SEQUENCES)
        for first in tqdm(firsts, desc="marks", disable=not runtime.progress, leave=False):
            indices = range(first, min(first + SEQUENCES, len(sequences)))
            texts = [texts_of(sequences, index) for index in indices]
            encoded = each_token(tokenizer, [ids for several in texts for ids in several])
            odds = iter(
                spread(len(ids), places, values.numpy())
                for ids, places, values in zip(
                    encoded.ids, encoded.places, log_odds(model, tokenizer, encoded, batch_size, device), strict=True
                )
            )
            whole = [np.concatenate([next(odds) for _ in several]) for several in texts]
            rows = [marked(values, cut) for values in whole]
            counts["tokens"] += int(sum(np.isfinite(values).sum() for values in whole))
            counts["marked"] += int(sum(row.sum() for row in rows))
            counts["unimportant"] += sum(not (values > cut).any() for values in whole)
            yield rows

    write_marks(out / FILE, batches())
    return [
        measurement("train", "marked_tokens", counts["marked"] / max(1, counts["tokens"]), n=counts["tokens"]),
        measurement("train", "unimportant_sequences", counts["unimportant"] / len(sequences), n=len(sequences)),
    ]


def texts_of(sequences: Sequences, index: int) -> list[Ids]:
    """The texts of a sequence, each with its own special tokens; packed texts are marked separately."""
    return np.split(sequences.ids(index), sequences.starts(index)[1:])


def spread(length: int, places: list[int], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A row [length] with the values at their places and minus infinity elsewhere."""
    row = np.full(length, -np.inf, dtype=np.float32)
    row[places] = values
    return row
