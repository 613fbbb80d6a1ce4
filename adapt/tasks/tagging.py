"""Token classification: an encoder that predicts a tag at the first sub-token of each word, and its objective."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING

from adapt.adapters import folder as adapters
from adapt.config import ConfigError
from adapt.data import tasks
from adapt.data.kinds.tagging import Span, answers_file, spans
from adapt.data.splits import clean_part
from adapt.data.tokens import batching
from adapt.models import heads, loading, segments, weights
from adapt.table.measurement import Measurements, measurement
from adapt.table.metrics import SpanCounts, count_spans, score
from adapt.tasks.kind import Head, Kind, NotFinite
from adapt.training.objectives import Batch, model_inputs

KEY_NAME = "tasks.tagging"
VERSION = 2

NAME = "tagging"  # written into the note of a saved model


class TokenHead(nn.Module):
    """Dropout and one linear layer on the hidden state of each word's first sub-token."""

    def __init__(self, width: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, num_classes)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden [P, H] -> logits [P, C]."""
        return self.out(self.dropout(hidden))


class TokenClassifier(heads.HeadedEncoder):
    """An encoder with a head for tags: transformers' own head of the architecture, or :class:`TokenHead`."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, positions: Tensor, **more: Tensor) -> Tensor:
        """Logits [P, C] in float32 at ``positions`` [P], indices into the batch flattened to B * L tokens."""
        more = segments.readable(self.encoder, more)
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **more)
        if self.head is None:
            return output.logits.flatten(0, 1)[positions].float()
        return self.head(output.last_hidden_state.flatten(0, 1)[positions]).float()

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase, labels: list[str], **more: Any) -> None:
        """Save as every headed encoder does, with the kind in its note."""
        super().save(folder, tokenizer, labels, kind=NAME, **more)


def new_tagger(
    folder: Path, *, labels: list[str], pooling: str, dropout: float, adapted: bool = True
) -> TokenClassifier:
    """A tagger on the folder's encoder; its head is drawn from torch's current random state.

    pooling: named as for a classifier, though nothing is pooled: ``cls`` is the architecture's own head, ``mean`` ours.
    """
    if pooling == "mean":
        encoder = loading.load_encoder(folder, dropout=dropout, adapted=adapted)
        return TokenClassifier(encoder, TokenHead(encoder.config.hidden_size, len(labels), dropout))
    config = loading.config_with_dropout(folder, dropout)
    config.num_labels = len(labels)
    model, _ = weights.opened(AutoModelForTokenClassification, folder, config=config)
    adapters.restore(model, folder, [], adapted=adapted)
    inside = {id(module) for module in model.base_model.modules()}
    for module in model.modules():  # or a chain whose checkpoint has part of the head would have a head start
        if id(module) not in inside and isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=getattr(config, "initializer_range", 0.02))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return TokenClassifier(model, None)


def load_tagger(folder: Path, *, dropout: float = 0.0) -> tuple[TokenClassifier, list[str]]:
    """A tagger that :meth:`TokenClassifier.save` wrote, and the names of its tags."""
    file = folder / heads.HEAD_NOTE
    note = json.loads(file.read_text()) if file.exists() else {}
    if note.get("kind") != NAME:
        raise ConfigError(f"{folder}: no fine-tuned tagger (no {heads.HEAD_NOTE} that says kind={NAME})")
    if note["pooling"] == "cls":
        config = loading.config_with_dropout(folder, dropout)
        config.num_labels = len(note["labels"])  # with adapters the config is that of the base
        model, new = weights.opened(AutoModelForTokenClassification, folder, config=config)
        loading.refuse_untrained(folder, adapters.restore(model, folder, new, adapted=True))
        return TokenClassifier(model, None), note["labels"]
    encoder = loading.load_encoder(folder, dropout=dropout)
    head = TokenHead(encoder.config.hidden_size, len(note["labels"]), dropout)
    head.load_state_dict(load_file(folder / heads.HEAD_FILE))
    return TokenClassifier(encoder, head), note["labels"]


@dataclass
class EncodedWords(batching.Encoded):
    """Token ids of some sentences, and the places of their words in them."""

    places: list[list[int]]
    """For each sentence, the index of the first sub-token of each word that has one."""
    words: list[list[int]]
    """The numbers of those words; words that the cut at max_length removes are missing."""


def encode_words(
    tokenizer: PreTrainedTokenizerBase, sentences: Sequence[Sequence[str]], max_length: int
) -> EncodedWords:
    """Tokenise sentences of words, cut at max_length tokens, with any fast tokenizer: offsets are needed.

    A sentence is tokenised as its words with spaces between them, which is also the text that pretraining reads. The
    usual way, ``is_split_into_words=True``, gives the same only if the tokenizer itself puts a space before each word.
    Byte-level BPE (RoBERTa, GPT-2) without ``add_prefix_space=True`` would read the words without spaces, and
    tokenizers that first split by a pattern (Llama 3, Qwen) have no such setting. Where both ways are right, tokens and
    places are equal. A word's first sub-token is the first that covers a character of it or the space before it.
    """
    if not tokenizer.is_fast:
        raise ConfigError(f"task.kind={NAME}: {type(tokenizer).__name__} does not tell where its tokens are in a text")
    texts = [" ".join(words) for words in sentences]
    tokenised = tokenizer(texts, truncation=True, max_length=max_length, return_offsets_mapping=True)
    encoded = EncodedWords(tokenised["input_ids"], tokenised.get("token_type_ids"), [], [])
    for words, offsets in zip(sentences, tokenised["offset_mapping"], strict=True):
        firsts = first_tokens(words, offsets)
        encoded.words.append([word for word, place in enumerate(firsts) if place is not None])
        encoded.places.append([place for place in firsts if place is not None])
    return encoded


def first_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[int | None]:
    """For each word of " ".join(words), the first token that covers it or the space before it; None if there is none.

    offsets: [start, end) of each token in that text, in order; special tokens cover nothing.
    """
    covering = [(place, start, end) for place, (start, end) in enumerate(offsets) if end > start]
    firsts: list[int | None] = []
    next_token, begin = 0, 0
    for word in words:
        while next_token < len(covering) and covering[next_token][2] <= begin - 1:
            next_token += 1
        begins = next_token < len(covering) and covering[next_token][1] < begin + len(word)
        firsts.append(covering[next_token][0] if begins else None)
        begin += len(word) + 1
    return firsts


def collate_words(
    tokenizer: PreTrainedTokenizerBase, encoded: EncodedWords, indices: Sequence[int], tags: Sequence[Tensor]
) -> Batch:
    """Some sentences as a batch, padded to the longest. tags: those of all sentences, [words] each.

    Adds to the tensors of batching.collate, for the P words of these sentences that have a token: positions [P],
    indices into the batch flattened to one row; rows [P], the sentences; labels [P].
    """
    batch = batching.collate(tokenizer, encoded, indices)
    length = batch["input_ids"].shape[1]
    places = [torch.tensor(encoded.places[index], dtype=torch.long) for index in indices]
    return {
        **batch,
        "positions": torch.cat([row * length + place for row, place in enumerate(places)]),
        "rows": torch.arange(len(indices)).repeat_interleave(torch.tensor([len(place) for place in places])),
        "labels": torch.cat([tags[index][encoded.words[index]] for index in indices]),
    }


class Tagging:
    """One tag per word; an item is a word that has a token."""

    def items(self, batch: Batch) -> int:
        """The number of words P."""
        return len(batch["positions"])

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores of the tags [P, C] at the words' first sub-tokens."""
        return model(**model_inputs(batch), positions=batch["positions"])

    def targets(self, batch: Batch) -> Tensor:
        """The words' tags [P]."""
        return batch["labels"]

    def rows(self, batch: Batch) -> Tensor:
        """The sentence of each word, [P]."""
        return batch["rows"]

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropies [P] in nats."""
        return cross_entropy(self.logits(model, batch).float(), self.targets(batch), reduction="none")


@torch.no_grad()
def predict_tags(
    model: TokenClassifier,
    tokenizer: PreTrainedTokenizerBase,
    encoded: EncodedWords,
    sizes: Sequence[int],
    *,
    batch_size: int,
    device: torch.device,
) -> list[list[int]]:
    """The index of the likeliest tag of each word, in the order of ``encoded``; the model is in eval mode.

    sizes: the number of words of each sentence. Raises NotFinite. Words without a token get the tag 0, which is O.
    """
    answers = [[0] * size for size in sizes]
    empty = [torch.zeros(size, dtype=torch.long) for size in sizes]
    for indices in batching.sorted_batches(encoded.lengths, batch_size):
        batch = collate_words(tokenizer, encoded, indices, empty)
        read = {name: value.to(device) for name, value in batch.items()}
        scores = Tagging().logits(model, read)
        for place in (~scores.isfinite()).any(-1).nonzero().flatten().tolist():
            number = indices[int(batch["rows"][place])]
            raise NotFinite(number, f"sentence {number}")
        best = scores.argmax(-1).cpu()
        for row, index in enumerate(indices):
            for word, tag in zip(encoded.words[index], best[batch["rows"] == row].tolist(), strict=True):
                answers[index][word] = tag
    return answers


def tag_spaces(answers: list[list[int]], sentences: Sequence[Sequence[str]], encoded: EncodedWords) -> list[list[int]]:
    """The answers, with the tags of words that are spaces and have no token: within a span where both neighbours are.

    The indices are those of O, B-X, I-X, B-Y, I-Y, ..., as adapt/data/kinds/tagging.py makes them.
    """
    for tags, words, seen in zip(answers, sentences, encoded.words, strict=True):
        for place in sorted(set(range(1, len(words) - 1)) - set(seen)):
            after = next((n for n in range(place + 1, len(words)) if not words[n].isspace()), None)
            if words[place].isspace() and after is not None:
                inside = tags[after]
                continues = inside and inside % 2 == 0 and tags[place - 1] in (inside - 1, inside)
                tags[place] = inside if continues else 0
    return answers


class TaggedSentences:
    """Sentences of words, each word with a tag."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: tasks.Task, name: str, max_length: int) -> None:
        self.tokenizer, self.task, self.name = tokenizer, task, name
        self.sentences = sentences = [example.tokens for example in task.splits[name]]
        self.encoded: EncodedWords = encode_words(tokenizer, sentences, max_length)
        self.seen = [set(words) for words in self.encoded.words]
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
        """See tagging.collate_words."""
        return collate_words(self.tokenizer, self.encoded, indices, self.gold)

    def predict(self, model: TokenClassifier, batch_size: int, device: torch.device) -> list[list[int]]:
        """The index of the likeliest tag of each word of each sentence."""
        answers = predict_tags(
            model, self.tokenizer, self.encoded, [len(tags) for tags in self.gold],
            batch_size=batch_size, device=device,
        )  # fmt: skip
        return tag_spaces(answers, self.sentences, self.encoded)

    def score(self, answers: list[list[int]]) -> float:
        """The task's metric for the spans."""
        return self._score(self.task.metric, answers, range(len(self.gold)))

    def measure(self, answers: list[list[int]], clean: list[int] | None = None) -> Measurements:
        """F1, precision and recall of the spans, F1 of each type in the training split, accuracy of the words' tags.

        n is the number of sentences for the first three, of the type's spans for its F1, of words for the accuracy.
        ``truncated_words`` counts the words without a token, because of the cut at max_length or, rarely, because the
        tokenizer drops their characters; they are answered O. Words that are spaces do not count (see tag_spaces).
        Clean sentences without any span give no rows.
        """
        rows = self._rows(self.name, answers, range(len(self.gold)))
        if clean is not None and any(self.gold[index].any() for index in clean):  # O has the index 0
            rows += self._rows(clean_part(self.name), answers, clean)
        return rows

    def _rows(self, name: str, answers: list[list[int]], chosen: Sequence[int]) -> Measurements:
        counts = count_spans(self._gold(chosen), self._spans(answers[index] for index in chosen))
        whole, sentences = counts[""], len(chosen)
        own = {metric: self._score(metric, answers, chosen) for metric in dict.fromkeys([self.task.metric, "span_f1"])}
        rows = [
            measurement(name, metric, value, n=sentences)
            for metric, value in {**own, "span_precision": whole.precision, "span_recall": whole.recall}.items()
        ]
        for kind in sorted({label[2:] for label in self.task.labels} - {""}):
            of_kind = counts.get(kind, SpanCounts(0, 0, 0))
            rows.append(measurement(name, f"f1_{kind}", of_kind.f1, n=of_kind.gold))
        words = sum(len(self.gold[index]) for index in chosen)
        right = sum(int((self.gold[index] == torch.tensor(answers[index])).sum()) for index in chosen)
        unseen = sum(
            not word.isspace()
            for index in chosen
            for place, word in enumerate(self.sentences[index])
            if place not in self.seen[index]
        )
        rows.append(measurement(name, "token_accuracy", right / words if words else 0.0, n=words))
        return [*rows, measurement(name, "truncated_words", unseen, n=words)]

    def write(self, answers: list[list[int]], out: Path) -> None:
        """Write one line per sentence, with the names of its words' predicted tags."""
        lines = [json.dumps({"id": number, "tags": tags}) for number, tags in enumerate(self._names(answers))]
        (out / answers_file(self.name)).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _score(self, metric: str, answers: list[list[int]], chosen: Sequence[int]) -> float:
        predicted = self._spans(answers[index] for index in chosen)
        return score(metric, self._gold(chosen), predicted, len(self.task.labels))

    def _gold(self, chosen: Sequence[int]) -> list[list[Span]]:
        return self._spans(self.gold[index].tolist() for index in chosen)

    def _spans(self, tags: Iterable[list[int]]) -> list[list[Span]]:
        return [spans(names) for names in self._names(tags)]

    def _names(self, tags: Iterable[list[int]]) -> list[list[str]]:
        return [[self.task.labels[tag] for tag in sentence] for sentence in tags]


def encode(
    tokenizer: PreTrainedTokenizerBase, given: list[list[str]], places: list[str], max_length: int
) -> EncodedWords:
    """Tokenise sentences, given as lists of words; a word without a token is answered O."""
    return encode_words(tokenizer, given, max_length)


def answer(
    model: TokenClassifier,
    tokenizer: PreTrainedTokenizerBase,
    encoded: EncodedWords,
    given: list[list[str]],
    labels: list[str],
    batch_size: int,
) -> Iterator[dict[str, Any]]:
    """Yield each sentence's tokens and tags, and its spans with their type and their first and last token."""
    answered = tag_spaces(
        predict_tags(model, tokenizer, encoded, list(map(len, given)), batch_size=batch_size, device=model.device),
        given,
        encoded,
    )
    for tokens, indices in zip(given, answered, strict=True):
        tags = [labels[index] for index in indices]
        tagged_spans = [
            {"type": kind, "first": start, "last": end - 1, "text": " ".join(tokens[start:end])}
            for start, end, kind in spans(tags)
        ]
        yield {"tokens": tokens, "tags": tags, "spans": tagged_spans}


KIND = Kind(
    objective=Tagging(),
    new=new_tagger,
    load=load_tagger,
    split=TaggedSentences,
    head=Head(
        architectures=MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
        opens_own="AutoModelForTokenClassification",
        opener="adapt.tasks.tagging.load_tagger",
        layer="the linear layer on the last hidden state of each word's first sub-token",
    ),
    needs_offsets=True,
    encode=encode,
    answer=answer,
)
