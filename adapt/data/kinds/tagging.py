"""Token classification: sentences of words with one tag per word, and the spans that the tags encode.

Tags are IOB2 inside the project (adapt/data/tags.py, which also reads the other schemes).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.config import ConfigError, TaskConfig
from adapt.data.files import Row, column, text_column
from adapt.data.formats.conll import read_conll
from adapt.data.kinds.kind import Answers, Places, TaskKind, named
from adapt.data.pydoc import entities
from adapt.data.splits import MEASURED, TRAIN
from adapt.data.tags import OUTSIDE, POSSIBLE, Span, form_of, iob2, likeliest_form, plain, spans
from adapt.data.task_files import split_rows
from adapt.data.text import in_hash_order
from adapt.data.visible import is_blank

__all__ = ["Span", "iob2", "spans"]  # as the other rooms know them

KEY_NAME = "data.tagging"
VERSION = 2
NUMBERED = "it must be a string, or an integer whose name task.label_names=[O,B-X,...] says"


@dataclass(frozen=True)
class TaggedExample:
    """The tokens of a sentence and the index of each token's tag. ``id`` is its place in its split."""

    id: int
    tokens: tuple[str, ...]
    tags: tuple[int, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The sentence as pretraining and the leak report read it: its tokens joined by spaces.

        Where all tokens are characters, and spaces among them (KLUE), nothing is put between them.
        """
        running = any(map(str.isspace, self.tokens)) and all(len(token) == 1 for token in self.tokens)
        return (("" if running else " ").join(self.tokens),)

    @property
    def targets(self) -> tuple[int, ...]:
        """The index of each token's tag."""
        return self.tags

    def answer(self, labels: Sequence[str]) -> str:
        """The names of its tags, joined by spaces."""
        return " ".join(labels[index] for index in self.tags)


@dataclass(frozen=True)
class Sentence:
    """Tokens whose tags are still names, not indices; ``where`` is the file and line of the first token."""

    where: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]


def tagged(id: int, tokens: list[str], tags: list[int]) -> TaggedExample:
    """Make an example from a row of a split's file."""
    return TaggedExample(id, tuple(tokens), tuple(tags))


def read(cfg: TaskConfig, files: Mapping[str, Sequence[Path]]) -> tuple[list[str], dict[str, list[Any]], Places]:
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
        splits = _from_files(cfg, files)
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


def check_first(cfg: TaskConfig, split: str, files: Sequence[Path]) -> None:
    """Raise ConfigError for a split without sentences, or if its first sentence cannot be read."""
    if next(_sentences(cfg, split, files), None) is None:
        raise ConfigError(f"{files[0]}: this split has no examples")


def check_columns(key: str, cfg: TaskConfig) -> None:
    """Raise ConfigError for a pair of sentences, and for settings of labels that tags do not have."""
    for name in ("no_label", "negative_class"):
        if getattr(cfg, name) is not None:
            raise ConfigError(f"{key}.{name}={getattr(cfg, name)}: is of tasks that label whole texts; must be null")
    if cfg.split_column is not None and cfg.format == "conll":
        raise ConfigError(f"{key}.split_column={cfg.split_column}: a .conll file has no such column; must be null")
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


def _from_files(cfg: TaskConfig, files: Mapping[str, Sequence[Path]]) -> dict[str, list[Sentence]]:
    """The sentences of each split with IOB2 tags, by the hash of their text. Raises ConfigError, see read."""
    read = {split: list(_sentences(cfg, split, of_split)) for split, of_split in files.items()}
    for split, sentences in read.items():
        if not sentences:
            raise ConfigError(f"{files[split][0]}: the {split} split of task={cfg.name} has no examples")
    form = _form(cfg, [sentence for sentences in read.values() for sentence in sentences])
    return {
        split: in_hash_order(
            (_converted(sentence, form) for sentence in sentences),
            lambda sentence: "\n".join((*sentence.tokens, *sentence.tags)),
        )
        for split, sentences in read.items()
    }


def _sentences(cfg: TaskConfig, split: str, files: Sequence[Path]) -> Iterator[Sentence]:
    """The sentences of a split, with the tags as its files write them."""
    if cfg.format == "conll":
        numbers = cfg.label_names is not None
        read = (one for f in files for one in read_conll(f, cfg.text_column, cfg.label_column, integers=numbers))
    else:
        read = (
            (row[0], _strings(row, cfg.text_column, "task.text_column"), _tags(cfg, row))
            for row in split_rows(cfg, split, files)
        )
    for where, tokens, tags in read:
        if len(tokens) != len(tags):
            raise ConfigError(f"{where}: {len(tokens)} tokens but {len(tags)} tags; each token has one")
        _check_seen(where, tokens)
        yield Sentence(where, tuple(tokens), tuple(_tag_name(cfg, where, tag) for tag in tags))


def _tag_name(cfg: TaskConfig, where: str, tag: str) -> str:
    names = cfg.label_names
    if names is None or not tag.isdigit():
        return tag
    if int(tag) >= len(names):
        raise ConfigError(f"{where}: tag {tag}; task.label_names={names} has names for 0 to {len(names) - 1}")
    return names[int(tag)]


def _form(cfg: TaskConfig, sentences: list[Sentence]) -> str:
    """The form of all tags of a task. Raises ConfigError, which names the first tag of another form."""
    tags = [tag for sentence in sentences for tag in sentence.tags]
    try:
        form = form_of(tags)
    except ConfigError as error:
        raise ConfigError(f"task={cfg.name}: {error}") from error
    if form is not None:
        return form
    likeliest = likeliest_form(tags)
    for sentence in sentences:
        for place, (token, tag) in enumerate(zip(sentence.tokens, sentence.tags, strict=True), start=1):
            if plain(likeliest, tag) is None:
                numbered = "; of integers task.label_names says the names" if tag.isdigit() else ""
                raise ConfigError(
                    f"{sentence.where}: token {place} ({token[:40]}) has the tag {tag!r}; {POSSIBLE}{numbered}"
                )
    raise AssertionError("a tag has no form, and none was found")


def _converted(sentence: Sentence, form: str) -> Sentence:
    return Sentence(
        sentence.where, sentence.tokens, tuple(iob2([plain(form, tag) or OUTSIDE for tag in sentence.tags]))
    )


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


def _tags(cfg: TaskConfig, row: Row) -> list[str]:
    """The tags of a row, integers as digits where they have names."""
    value = column(row, cfg.label_column, "task.label_column")
    if isinstance(value, list):
        for tag in value:
            if isinstance(tag, bool) or not isinstance(tag, str if cfg.label_names is None else (str, int)):
                where = f"{row[0]}: column {cfg.label_column!r} (task.label_column={cfg.label_column})"
                raise ConfigError(f"{where} holds {tag!r}; {NUMBERED}")
        value = list(map(str, value))
    return _strings((row[0], {**row[1], cfg.label_column: value}), cfg.label_column, "task.label_column")


def _strings(row: Row, name: str, key: str) -> list[str]:
    """A list of strings from a row. Raises ConfigError, which shows the value, if it is not one."""
    value = column(row, name, key)
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{row[0]}: column {name!r} ({key}={name}) holds {value!r}; it must be a list of strings")
    return [text_column((row[0], {name: element}), name, key) for element in value]


def _check_seen(where: str, tokens: list[str]) -> None:
    """Refuse an empty token, and a sentence of spaces. A token may be a space where the others are characters."""
    blank = not any(token.strip() for token in tokens)
    for place, token in enumerate(tokens, start=1):
        if not token or (blank and not token.strip()):
            raise ConfigError(f"{where}: token {place} is {token!r}; a token needs a visible character")
    if is_blank("".join(tokens)):
        raise ConfigError(
            f"{where}: the tokens {tokens[:5]!r} hold nothing that can be read; a sentence needs a visible one"
        )


def class_of(label: str) -> str | None:
    """The type of a tag's span; None for O."""
    return label.partition("-")[2] or None


KIND = TaskKind(
    does="labels words",
    classifies=False,
    formats=("pydoc", "jsonl", "parquet", "conll", "datasets"),
    reading=("adapt.data.kinds.tagging", "adapt.data.formats.conll", "adapt.data.tags"),
    reading_packages=("adapt.data.pydoc.entities",),
    answering=("adapt.tasks.tagging", "adapt.data.kinds.tagging", "adapt.data.tags"),
    example=tagged,
    read=read,
    read_unlabelled=read_tokens,
    check_first=check_first,
    check_question=entities.check,
    check_columns=check_columns,
    read_answers=read_answers,
    class_of=class_of,
)
