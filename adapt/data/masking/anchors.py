"""Anchors, the words that set a text apart from general text, and the nearness of words to them (Wilf et al., 2023)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.characters import marks

KEY_NAME = "data.masking.anchors"
VERSION = 2
FILE = "anchors.json"
FARTHEST = 1e-3  # the smallest weight of a word, so that a word far from every anchor can still be masked


_ASCII_WORD = re.compile("[a-z]{2,}")


@cache
def _word() -> re.Pattern[str]:
    return re.compile(rf"(?:[^\W\d_][{marks()}]*){{2,}}")


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs; words are runs of two or more letters with their marks, in lower case."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update((_ASCII_WORD if text.isascii() else _word()).findall(text.lower()))
    return counts


def tf_icf(text: Counter[str], general: Counter[str]) -> dict[str, float]:
    """TF-ICF(w) = count of w in the text / (count of w in general text + 1).

    Term frequency times inverse corpus frequency (Wilf et al., 2023, Difference-Masking). The 1 covers words that
    general text lacks: such a word scores its count, so one that occurs once ranks far below frequent ones.
    """
    return {word: count / (general[word] + 1) for word, count in text.items()}


def highest(scores: dict[str, float], count: int) -> list[tuple[str, float]]:
    """The ``count`` words with the highest scores, with their scores; ties in alphabetical order."""
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:count]


def write_anchors(folder: Path, anchors: list[tuple[str, float]]) -> None:
    """Write the anchors and their scores in the order given, highest first."""
    (folder / FILE).write_text(json.dumps([{"word": word, "score": score} for word, score in anchors], indent=1) + "\n")


def read_anchors(folder: Path) -> list[str]:
    """The anchors that write_anchors wrote, highest score first."""
    return [anchor["word"] for anchor in json.loads((folder / FILE).read_text())]


class Nearness:
    """The cosine of a word's embedding with that of its nearest anchor; both are means over token embeddings.

    embeddings: [V, d] of the model from which training starts; they are not updated during training.
    anchors: the token ids of each anchor.
    """

    def __init__(self, embeddings: NDArray[np.float32], anchors: list[list[int]]) -> None:
        self.embeddings = embeddings
        self.anchors = unit(np.stack([embeddings[ids].mean(0) for ids in anchors]))

    def __call__(self, words: list[NDArray[np.int64]]) -> NDArray[Any]:
        """The nearness of each word, [W], at least FARTHEST; ``words``: the token ids of each word."""
        sizes = np.array([len(word) for word in words])
        sums = np.add.reduceat(self.embeddings[np.concatenate(words)], np.cumsum(sizes) - sizes)
        return np.maximum((unit(sums) @ self.anchors.T).max(1), FARTHEST)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its L2 norm; a row of zeros stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
