"""The words by which a text differs from general text, and how near other words are to them (Wilf et al., 2023)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY_NAME = "data.masking.anchors"
VERSION = 1
FILE = "anchors.json"
FARTHEST = 1e-3  # the least weight of a word: one that is near no anchor can still be masked
_WORD = re.compile(r"[^\W\d_]{2,}")


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs: runs of two or more letters, in lower case."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(_WORD.findall(text.lower()))
    return found


def tf_icf(text: Counter[str], general: Counter[str]) -> dict[str, float]:
    """TF-ICF(w) = count of w in the text / (count of w in general text + 1).

    Term frequency by inverse corpus frequency (Wilf et al., 2023, Difference-Masking). The 1, for words that general
    text does not hold, makes a word of one occurrence no anchor beside frequent ones.
    """
    return {word: count / (general[word] + 1) for word, count in text.items()}


def highest(scores: dict[str, float], count: int) -> list[tuple[str, float]]:
    """The ``count`` words of the highest scores and those scores, equal ones in the order of the alphabet."""
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:count]


def write_anchors(folder: Path, anchors: list[tuple[str, float]]) -> None:
    """Write words and scores, highest first."""
    (folder / FILE).write_text(json.dumps([{"word": word, "score": score} for word, score in anchors], indent=1) + "\n")


def read_anchors(folder: Path) -> list[str]:
    """The words, highest score first."""
    return [anchor["word"] for anchor in json.loads((folder / FILE).read_text())]


class Nearness:
    """How near a word is to its nearest anchor: the largest cosine of their embeddings, each the mean of its tokens'.

    embeddings: [V, d] of the model that training begins from; they stay what they were while it trains.
    anchors: the token ids of each anchor.
    """

    def __init__(self, embeddings: NDArray[np.float32], anchors: list[list[int]]) -> None:
        self.embeddings = embeddings
        self.anchors = unit(np.stack([embeddings[ids].mean(0) for ids in anchors]))

    def __call__(self, words: list[NDArray[np.int64]]) -> NDArray[Any]:
        """The words' nearness, [W], at least FARTHEST; ``words``: the token ids of each."""
        sizes = np.array([len(word) for word in words])
        sums = np.add.reduceat(self.embeddings[np.concatenate(words)], np.cumsum(sizes) - sizes)
        return np.maximum((unit(sums) @ self.anchors.T).max(1), FARTHEST)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row [d] by its length; a row of zeros stays one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
