"""A classifier as the search sees it: texts in, probabilities out; and how much of a text it reads at all."""

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
    """The text that is changed: of a pair the second (the hypothesis), as TextFooler does (Jin et al., 2020)."""
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
    """Texts that stand in the place of the example's attacked text -> probabilities [N, C] in float64.

    A batch never mixes examples, so what is found for one does not depend on the others.
    """

    def classify(texts: list[str]) -> np.ndarray:
        pair = example.text_pair is not None
        varied = [Example(i, example.text, 0, text) if pair else Example(i, text, 0) for i, text in enumerate(texts)]
        data = encode_examples(tokenizer, varied, max_length)
        return predict(model, tokenizer, data, batch_size, device).double().softmax(-1).numpy()

    return classify


def words_read(tokenizer: PreTrainedTokenizerBase, example: Example, sentence: Sentence, max_length: int) -> int:
    """How many words of the attacked text lie whole within max_length tokens: the others cannot change an answer.

    All of them where the tokenizer does not tell the characters of its tokens.
    """
    if not tokenizer.is_fast:
        return len(sentence.words)
    pair = [] if example.text_pair is None else [example.text_pair]
    found = tokenizer(example.text, *pair, truncation=True, max_length=max_length, return_offsets_mapping=True)
    own = [
        offset for offset, part in zip(found["offset_mapping"], found.sequence_ids(0), strict=True) if part == len(pair)
    ]
    end = max((last for _, last in own), default=0)
    return sum(sentence.span(position)[1] <= end for position in range(len(sentence.words)))
