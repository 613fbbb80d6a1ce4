"""Which tokens of a labelled text its label hangs on: each is tried behind those that came to nothing before it.

From Gu et al. (2020), Train No Evil: Selective Masking for Task-Guided Pre-Training, EMNLP (2020.emnlp-main.566). Here
a text is scored whole, cut at fine-tuning's token limit. Not done, of what the authors' released code does beside the
paper's text: it cuts a document into sentences (spaCy) that all have its label, keeps of those that are predicted
correctly the share with the highest P(y), and never calls a stop word (spaCy's list) important.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

KEY_NAME = "data.masking.importance"
VERSION = 1
Probability = Callable[[list[list[int]], list[int]], NDArray[np.float64]]
"""(buffers, numbers) -> P(y | buffer), [B]: of each buffer of token ids; y is the label of the text of that number."""


def important_tokens(
    texts: Sequence[Sequence[int]], probability: Probability, threshold: float
) -> list[NDArray[np.bool_]]:
    """For each text s = w_1 ... w_n which tokens are important, [n].

    S(w_i) = P(y | s) - P(y | s' + w_i), s' the buffer, empty at first. Where S(w_i) < threshold (the paper: .05), w_i
    brings the answer about as near as the whole text does: it is important, and leaves the buffer again, so that it
    does not speak for the tokens after it. Every other token stays in the buffer. The i-th tokens of all texts are
    tried together; texts do not depend on each other.
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
