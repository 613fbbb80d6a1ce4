"""The kinds of tasks that a model is fine-tuned for, each as one object: fine-tuning and evaluation name neither."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from adapt import models, prediction
from adapt.config import ConfigError
from adapt.data import batching, tagging, tasks
from adapt.objectives import Batch, Classification, Objective
from adapt.stages.scores import scores
from adapt.table.measurement import Measurements, measurement
from adapt.token_classifier import (
    EncodedWords,
    Tagging,
    TokenClassifier,
    collate_words,
    encode_words,
    load_tagger,
    new_tagger,
    predict_tags,
)

KEY_NAME = "tasks.kinds"
VERSION = 1


class Examples(Protocol):
    """What a headed encoder is trained on, or chosen by, with the answers that it should have."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example, special ones included."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some examples as tensors, with what the kind's objective reads."""

    def predict(self, model: Any, batch_size: int, device: torch.device) -> Any:
        """The answers of a model in eval mode to all examples, in their order."""

    def score(self, answers: Any) -> float:
        """How good the answers are: higher is better."""


class Split(Examples, Protocol):
    """One split of a task as a tokenizer reads it; its score is the task's own metric."""

    def measure(self, answers: Any, clean: list[int] | None = None) -> Measurements:
        """The rows of these answers; with the ids of the split's clean examples, also theirs as ``<split>_clean``."""

    def write(self, answers: Any, out: Path) -> None:
        """Keep the answers in the folder."""


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    new(folder, labels=, pooling=, dropout=): a model with a new head on the folder's encoder. load(folder): one that
    was saved. split(tokenizer, task, name, max_length): a split of a task.
    """

    objective: Objective
    new: Callable[..., Any]
    load: Callable[[Path], Any]
    split: Callable[[PreTrainedTokenizerBase, tasks.Task, str, int], Split]


class ClassifiedTexts:
    """A label a text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: tasks.Task, name: str, max_length: int) -> None:
        self.tokenizer, self.task, self.name = tokenizer, task, name
        self.encoded = prediction.encode_examples(tokenizer, task.splits[name], max_length)
        self.gold = torch.tensor([example.label for example in task.splits[name]])

    @property
    def lengths(self) -> list[int]:
        """See Split."""
        return self.encoded.lengths

    def batch(self, indices: Sequence[int]) -> Batch:
        """What batching.collate gives, and labels [B]."""
        return {**batching.collate(self.tokenizer, self.encoded, indices), "labels": self.gold[list(indices)]}

    def predict(self, model: models.Classifier, batch_size: int, device: torch.device) -> Tensor:
        """Logits [N, C]."""
        return prediction.predict(model, self.tokenizer, self.encoded, batch_size, device)

    def score(self, answers: Tensor) -> float:
        """The task's metric of the likeliest labels."""
        predicted = answers.argmax(-1).tolist()
        return prediction.score(self.task.metric, self.gold.tolist(), predicted, len(self.task.labels))

    def measure(self, answers: Tensor, clean: list[int] | None = None) -> Measurements:
        """The task's metric and accuracy."""
        return scores(self.name, self.task, answers.argmax(-1).tolist(), clean)

    def write(self, answers: Tensor, out: Path) -> None:
        """``<split>_logits.npy``, [N, C]."""
        np.save(out / f"{self.name}_logits.npy", answers.numpy())


class TaggedSentences:
    """A tag a word."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: tasks.Task, name: str, max_length: int) -> None:
        self.tokenizer, self.task, self.name = tokenizer, task, name
        sentences = [example.tokens for example in task.splits[name]]
        self.encoded: EncodedWords = encode_words(tokenizer, sentences, max_length)
        self.gold = [torch.tensor(example.tags) for example in task.splits[name]]
        for number, words in enumerate(self.encoded.words):
            if not words:
                raise ConfigError(
                    f"{name} sentence {number} of this task ({' '.join(sentences[number])[:40]!r}): the tokenizer has "
                    "no token for any of its words; remove it from the data"
                )

    @property
    def lengths(self) -> list[int]:
        """See Split."""
        return self.encoded.lengths

    def batch(self, indices: Sequence[int]) -> Batch:
        """See token_classifier.collate_words."""
        return collate_words(self.tokenizer, self.encoded, indices, self.gold)

    def predict(self, model: TokenClassifier, batch_size: int, device: torch.device) -> list[list[int]]:
        """The index of a tag for each word of each sentence."""
        return predict_tags(
            model, self.tokenizer, self.encoded, [len(tags) for tags in self.gold],
            batch_size=batch_size, device=device,
        )  # fmt: skip

    def score(self, answers: list[list[int]]) -> float:
        """F1 of the spans, micro-averaged."""
        return self._counts(answers, range(len(self.gold)))[""].f1

    def measure(self, answers: list[list[int]], clean: list[int] | None = None) -> Measurements:
        """F1, precision and recall of the spans, F1 of each type of the training split, accuracy of the tags of words.

        n is the sentences of the first three, the spans of a type, the words of the accuracy. ``truncated_words`` is
        how many of those words had no token, because of the cut at max_length or, rarely, of characters that the
        tokenizer drops; they are answered O. No rows of clean sentences that have no span.
        """
        found = self._rows(self.name, answers, range(len(self.gold)))
        if clean is not None and any(self.gold[index].any() for index in clean):  # O has the index 0
            found += self._rows(f"{self.name}_clean", answers, clean)
        return found

    def _rows(self, name: str, answers: list[list[int]], chosen: Sequence[int]) -> Measurements:
        counts = self._counts(answers, chosen)
        whole, sentences = counts[""], len(chosen)
        rows = [
            measurement(name, "span_f1", whole.f1, n=sentences),
            measurement(name, "span_precision", whole.precision, n=sentences),
            measurement(name, "span_recall", whole.recall, n=sentences),
        ]
        for kind in sorted({label[2:] for label in self.task.labels} - {""}):
            found = counts.get(kind, tagging.SpanCounts(0, 0, 0))
            rows.append(measurement(name, f"f1_{kind}", found.f1, n=found.gold))
        words = sum(len(self.gold[index]) for index in chosen)
        right = sum(int((self.gold[index] == torch.tensor(answers[index])).sum()) for index in chosen)
        unseen = words - sum(len(self.encoded.words[index]) for index in chosen)
        rows.append(measurement(name, "token_accuracy", right / words if words else 0.0, n=words))
        return [*rows, measurement(name, "truncated_words", unseen, n=words)]

    def write(self, answers: list[list[int]], out: Path) -> None:
        """``<split>_tags.jsonl``: a line a sentence with the names of its words' predicted tags."""
        lines = [json.dumps({"id": number, "tags": tags}) for number, tags in enumerate(self._names(answers))]
        (out / f"{self.name}_tags.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _counts(self, answers: list[list[int]], chosen: Sequence[int]) -> dict[str, tagging.SpanCounts]:
        gold = self._names(self.gold[index].tolist() for index in chosen)
        return tagging.count_spans(gold, self._names(answers[index] for index in chosen))

    def _names(self, tags: Iterable[list[int]]) -> list[list[str]]:
        return [[self.task.labels[tag] for tag in sentence] for sentence in tags]


KINDS = {
    "classification": Kind(
        Classification(), models.new_classifier, lambda folder: models.load_classifier(folder)[0], ClassifiedTexts
    ),
    "tagging": Kind(Tagging(), new_tagger, lambda folder: load_tagger(folder)[0], TaggedSentences),
}
