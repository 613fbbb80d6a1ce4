"""Finds the tokens of a labelled text on which its label depends, by adding tokens to a buffer one at a time.

From Gu et al. (2020), Train No Evil: Selective Masking for Task-Guided Pre-Training, EMNLP (2020.emnlp-main.566). Here
a text is scored whole, cut at fine-tuning's token limit. The authors' released code does three things that the paper
does not mention and that are not done here: it cuts a document into sentences (spaCy), each with the document's label;
of the sentences that are predicted correctly it keeps the share with the highest P(y); and it never calls a stop word
(spaCy's list) important.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

KEY_NAME = "data.masking.importance"
VERSION = 1
Probability = Callable[[list[list[int]], list[int]], NDArray[np.float64]]
"""(buffers, numbers) -> P(y | buffer), [B]. A buffer is a list of token ids; y is the label of text ``number``."""


def important_tokens(
    texts: Sequence[Sequence[int]], probability: Probability, threshold: float
) -> list[NDArray[np.bool_]]:
    """For each text s = w_1 ... w_n, whether each token is important, [n].

    S(w_i) = P(y | s) - P(y | s' + w_i), where s' is the buffer, empty at first. If S(w_i) < threshold (the paper: .05),
    the buffer with w_i predicts the label about as well as the whole text. Then w_i is important, and is removed from
    the buffer again, so that the tokens after it do not profit from it. Every other token stays in the buffer. The
    i-th tokens of all texts are scored in one call; texts do not depend on each other.
    """
    whole = probability([list(text) for text in texts], list(range(len(texts))))
    buffers: list[list[int]] = [[] for _ in texts]
    important = [np.zeros(len(text), dtype=bool) for text in texts]
    for place in range(max(map(len, texts), default=0)):
        numbers = [number for number, text in enumerate(texts) if place < len(text)]
        tried = [[*buffers[number], texts[number][place]] for number in numbers]
        scores = whole[numbers] - probability(tried, numbers)
        for number, buffer, score in zip(numbers, tried, scores, strict=True):
            important[number][place] = score < threshold
            if not important[number][place]:
                buffers[number] = buffer
    return important
