"""Token classification: sentences of words with one tag per word, and the spans that the tags encode.

Tags are IOB2 inside the project: B-X begins a span of type X, I-X continues it, O is outside. Files may also hold IOB1
(B-X only between neighbouring spans of one type), BIOES and BILOU. All are read by the rule of conlleval, the
evaluation script of CoNLL-2000 and 2003: I-X continues a span of type X, and begins one anywhere else, also after O.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, TaskConfig
from adapt.data.conll import read_conll
from adapt.data.files import Row, column, read_rows, text_column
from adapt.data.kinds.kind import Answers, Places, TaskKind, named
from adapt.data.pydoc import entities
from adapt.data.splits import MEASURED, TRAIN
from adapt.data.text import in_hash_order
from adapt.data.visible import is_blank

KEY_NAME = "data.tagging"
VERSION = 1

OUTSIDE = "O"
PREFIXES = {"B": "B", "I": "I", "E": "I", "S": "B", "L": "I", "U": "B"}  # of BIOES and BILOU -> IOB2
Span = tuple[int, int, str]  # first token, the one after its last, type


@dataclass(frozen=True)
class TaggedExample:
    """The tokens of a sentence and the index of each token's tag. ``id`` is its place in its split."""

    id: int
    tokens: tuple[str, ...]
    tags: tuple[int, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The sentence as pretraining and the leak report read it: its tokens joined by spaces."""
        return (" ".join(self.tokens),)

    @property
    def targets(self) -> tuple[int, ...]:
        """The index of each token's tag."""
        return self.tags

    def answer(self, labels: Sequence[str]) -> str:
        """The names of its tags, joined by spaces."""
        return " ".join(labels[index] for index in self.tags)


@dataclass(frozen=True)
class Sentence:
    """Tokens whose tags are still names (IOB2), not indices; ``where`` is the file and line of the first token."""

    where: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]


def tagged(id: int, tokens: list[str], tags: list[int]) -> TaggedExample:
    """Make an example from a row of a split's file."""
    return TaggedExample(id, tuple(tokens), tuple(tags))


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans of a sentence with IOB1 or IOB2 tags, by conlleval's rule (see the module's docstring)."""
    result: list[Span] = []
    start, name = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, kind = tag.partition("-")
        if name and not (prefix == "I" and kind == name):
            result.append((start, place, name))
            name = ""
        if prefix != OUTSIDE and not name:
            start, name = place, kind
    return result


def iob2(tags: Sequence[str]) -> list[str]:
    """Tags of any scheme in the module's docstring, converted to IOB2."""
    plain = [OUTSIDE if tag == OUTSIDE else PREFIXES[tag[0]] + tag[1:] for tag in tags]
    converted = [OUTSIDE] * len(tags)
    for start, end, name in spans(plain):
        converted[start:end] = [f"B-{name}"] + [f"I-{name}"] * (end - start - 1)
    return converted


def read(cfg: TaskConfig, files: Mapping[str, Path]) -> tuple[list[str], dict[str, list[Any]], Places]:
    """The names of the tags (O, then B-X and I-X of each type in train), the examples by the hash of their text, their
    places.

    files: those of the splits, in ``cfg.format``; none for pydoc. ``cfg.max_examples`` keeps the first examples.
    Raises ConfigError for every fault of the data.
    """
    if cfg.format == "pydoc":
        where = "installed packages"
        splits = {
            split: [Sentence(where, tuple(tokens), tuple(tags)) for tokens, tags in examples]
            for split, examples in entities.task().items()
        }
    else:
        splits = {split: _ordered(cfg, split, file) for split, file in files.items()}
    labels = [OUTSIDE, *(f"{prefix}-{name}" for name in _types(cfg, splits) for prefix in "BI")]
    index = {name: number for number, name in enumerate(labels)}
    examples: dict[str, list[Any]] = {
        split: [
            TaggedExample(number, sentence.tokens, tuple(index[tag] for tag in sentence.tags))
            for number, sentence in enumerate(sentences[: getattr(cfg.max_examples, split)])
        ]
        for split, sentences in splits.items()
    }
    return labels, examples, {split: [sentence.where for sentence in found] for split, found in splits.items()}


def check_first(cfg: TaskConfig, file: Path) -> None:
    """Raise ConfigError for a file without sentences, or if its first sentence cannot be read."""
    if next(iter(_READERS[cfg.format](cfg, file)), None) is None:
        raise ConfigError(f"{file}: this split has no examples")


def check_columns(key: str, cfg: TaskConfig) -> None:
    """Raise ConfigError for a pair of sentences, which this kind does not have."""
    if cfg.text_pair_column is not None:
        raise ConfigError(f"{key}.text_pair_column={cfg.text_pair_column}: a tagged sentence has no pair; must be null")


def read_answers(evaluation: Path, split: str, labels: list[str], examples: list[TaggedExample]) -> Answers:
    """The likeliest tag of each word."""
    with (evaluation / answers_file(split)).open(encoding="utf-8") as lines:
        predicted = [labels.index(tag) for line in lines for tag in json.loads(line)["tags"]]
    return Answers(
        [(example, word) for example in examples for word in range(len(example.tags))],
        named([tag for example in examples for tag in example.tags], labels),
        named(predicted, labels),
    )


def answers_file(split: str) -> str:
    """The name of the file in an evaluation's folder with one line of predicted tags per sentence of a split."""
    return f"{split}_tags.jsonl"


def read_tokens(row: Row) -> list[str]:
    """The tokens of a row without tags. Raises ConfigError if it has no tokens."""
    tokens = _strings(row, "tokens", "the column that predict reads")
    _check_seen(row[0], tokens)
    return tokens


def _ordered(cfg: TaskConfig, split: str, file: Path) -> list[Sentence]:
    sentences = list(_READERS[cfg.format](cfg, file))
    if not sentences:
        raise ConfigError(f"{file}: the {split} split of task={cfg.name} has no examples")
    return in_hash_order(sentences, lambda sentence: "\n".join((*sentence.tokens, *sentence.tags)))


def _types(cfg: TaskConfig, splits: dict[str, list[Sentence]]) -> list[str]:
    """The types of train's spans, sorted. Raises ConfigError for none, a wrong count, or a new one in dev or test."""
    types = sorted({tag[2:] for sentence in splits[TRAIN] for tag in sentence.tags if tag != OUTSIDE})
    if not types:
        raise ConfigError(f"task={cfg.name}: the training split tags no span; all of its tags are O")
    if cfg.num_classes not in (None, len(types)):
        raise ConfigError(
            f"task.num_classes={cfg.num_classes}: the training split has {len(types)} types of spans: "
            f"{', '.join(types)}"
        )
    for split in MEASURED:
        for sentence in splits.get(split, []):
            for tag in sentence.tags:
                if tag != OUTSIDE and tag[2:] not in types:
                    raise ConfigError(
                        f"{sentence.where}: tag {tag!r} in {split}: its type does not occur in train, "
                        f"which has {', '.join(types)}"
                    )
    return types


def _from_rows(cfg: TaskConfig, file: Path) -> Iterator[Sentence]:
    for row in read_rows(file):
        tokens = _strings(row, cfg.text_column, "task.text_column")
        yield _sentence(row[0], tokens, _strings(row, cfg.label_column, "task.label_column"))


def _from_conll(cfg: TaskConfig, file: Path) -> Iterator[Sentence]:
    for where, tokens, tags in read_conll(file):
        yield _sentence(where, tokens, tags)


_READERS: dict[str, Callable[[TaskConfig, Path], Iterator[Sentence]]] = {
    "jsonl": _from_rows,
    "parquet": _from_rows,
    "conll": _from_conll,
}


def _strings(row: Row, name: str, key: str) -> list[str]:
    """A list of strings from a row. Raises ConfigError, which shows the value, if it is not one."""
    value = column(row, name, key)
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{row[0]}: column {name!r} ({key}={name}) holds {value!r}; it must be a list of strings")
    return [text_column((row[0], {name: element}), name, key) for element in value]


def _check_seen(where: str, tokens: list[str]) -> None:
    for place, token in enumerate(tokens, start=1):
        if not token.strip():
            raise ConfigError(f"{where}: token {place} is {token!r}; a token needs a visible character")
    if is_blank("".join(tokens)):
        raise ConfigError(
            f"{where}: the tokens {tokens[:5]!r} hold nothing that can be read; a sentence needs a visible one"
        )


def _sentence(where: str, tokens: list[str], tags: list[str]) -> Sentence:
    if len(tokens) != len(tags):
        raise ConfigError(f"{where}: {len(tokens)} tokens but {len(tags)} tags; each token has one")
    _check_seen(where, tokens)
    for place, (token, tag) in enumerate(zip(tokens, tags, strict=True), start=1):
        prefix, dash, name = tag.partition("-")
        if tag != OUTSIDE and not (prefix in PREFIXES and dash and name):
            raise ConfigError(
                f"{where}: token {place} ({token[:40]}) has the tag {tag!r}; possible are O and, with a type X, "
                "B-X and I-X (IOB), or B-X, I-X, E-X and S-X (BIOES)"
            )
    return Sentence(where, tuple(tokens), tuple(iob2(tags)))


KIND = TaskKind(
    does="labels words",
    classifies=False,
    formats=("pydoc", "jsonl", "parquet", "conll"),
    reading=("adapt.data.kinds.tagging", "adapt.data.conll"),
    reading_packages=("adapt.data.pydoc.entities",),
    answering=("adapt.tasks.tagging", "adapt.data.kinds.tagging"),
    example=tagged,
    read=read,
    read_unlabelled=read_tokens,
    check_first=check_first,
    check_question=entities.check,
    check_columns=check_columns,
    read_answers=read_answers,
)
