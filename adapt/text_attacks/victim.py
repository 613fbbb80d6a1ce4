"""A classifier as the search sees it: texts in, probabilities out; and how much of a text the classifier reads."""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from adapt.data.kinds.classification import Example
from adapt.models.heads import Classifier
from adapt.tasks.prediction import encode_examples, predict
from adapt.text_attacks.search import Classify
from adapt.text_attacks.words import Sentence

KEY_NAME = "text_attacks.victim"
VERSION = 1


def attacked_text(example: Example) -> str:
    """The text that is attacked: of a pair the second (the hypothesis), as in TextFooler (Jin et al., 2020)."""
    return example.text if example.text_pair is None else example.text_pair


def classifier(
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    example: Example,
    *,
    max_length: int,
    batch_size: int,
    device: torch.device,
) -> Classify:
    """Returns classify(texts): probabilities [N, C] in float64 with each text in place of the example's attacked text.

    A batch never mixes examples, so the result for one does not depend on the others.
    """

    def classify(texts: list[str]) -> np.ndarray:
        pair = example.text_pair is not None
        varied = [Example(i, example.text, 0, text) if pair else Example(i, text, 0) for i, text in enumerate(texts)]
        data = encode_examples(tokenizer, varied, max_length)
        return predict(model, tokenizer, data, batch_size, device).double().softmax(-1).numpy()

    return classify


def words_read(tokenizer: PreTrainedTokenizerBase, example: Example, sentence: Sentence, max_length: int) -> int:
    """How many words of the attacked text lie entirely within max_length tokens: the others cannot change an answer.

    All words if the tokenizer returns no offsets.
    """
    if not tokenizer.is_fast:
        return len(sentence.words)
    pair = [] if example.text_pair is None else [example.text_pair]
    encoding = tokenizer(example.text, *pair, truncation=True, max_length=max_length, return_offsets_mapping=True)
    own = [
        offset
        for offset, part in zip(encoding["offset_mapping"], encoding.sequence_ids(0), strict=True)
        if part == len(pair)
    ]
    end = max((last for _, last in own), default=0)
    return sum(sentence.span(position)[1] <= end for position in range(len(sentence.words)))
