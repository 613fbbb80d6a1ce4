"""New tokens for a text: which words get one, how the tokenizer takes them in, and how their embeddings start.

Only whole words are added, so that every other word keeps its pieces: text without a new word is tokenised as before.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, cast

import torch
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adapt.config import ConfigError, VocabularyConfig
from adapt.models.heads import make_relocatable
from adapt.models.loading import load_tokenizer

KEY_NAME = "models.vocabulary"
VERSION = 1
TEXTS_AT_A_TIME = 1000
ROUNDS = 5  # of choosing other words for those that the extended tokenizer never writes


class NewWord(NamedTuple):
    """A word that becomes a token: how the tokenizer writes it, how often it occurs, and the ids it is split into."""

    token: str
    occurrences: int
    pieces: tuple[int, ...]

    @property
    def saved(self) -> int:
        """How many tokens the text has fewer if the word is one token."""
        return self.occurrences * (len(self.pieces) - 1)


def choose_words(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], cfg: VocabularyConfig) -> list[NewWord]:
    """At most ``cfg.new_tokens`` words of ``texts`` that are split into several tokens; those that save most first.

    A word is a run of letters, their marks and digits with at least one letter, after the tokenizer's normalisation
    (for a byte-level tokenizer, with the space before it), and not next to _. Ties are in alphabetical order. AVocaDo
    (Hong et al., 2021) takes subwords of a vocabulary that is trained on the text, until the text's fragment score, its
    tokens per word, falls below a threshold; here the number of words is given, and they are ranked by how much they
    lower that score.

    Raises ConfigError for a tokenizer that is neither WordPiece nor byte-level BPE, or where no word qualifies.
    """
    backend = backend_of(tokenizer)
    known = tokenizer.get_vocab()
    split, words_of = splitter(backend), word_reader(backend)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words_of(text))
    candidates = [
        NewWord(word, count, split(word))
        for word, count in counts.items()
        if count >= cfg.min_frequency and word not in known
    ]
    unknown = tokenizer.unk_token_id
    worth = [word for word in candidates if len(word.pieces) > 1 and unknown not in word.pieces]
    if not worth:
        raise ConfigError(
            f"vocabulary.min_frequency={cfg.min_frequency}: of the text's {len(counts)} different words, none that the "
            "tokenizer splits occurs so often; lower it, give more text, or set vocabulary=none"
        )
    return sorted(worth, key=lambda word: (-word.saved, word.token))[: cfg.new_tokens]


def words_in_use(folder: Path, texts: Sequence[str], cfg: VocabularyConfig) -> list[NewWord]:
    """The words of ``choose_words`` that the tokenizer of ``folder``, extended by them, writes somewhere in ``texts``.

    A tokenizer has rules of its own for where a word ends. A word that it never writes would only be a row that no
    training reaches; the next best takes its place, in at most ROUNDS rounds. Cost: one encoding of the texts a round.
    """
    rejected: set[str] = set()
    chosen: list[NewWord] = []
    for _ in range(ROUNDS):
        more = replace(cfg, new_tokens=cfg.new_tokens + len(rejected))
        chosen = [word for word in choose_words(load_tokenizer(folder), texts, more) if word.token not in rejected]
        with TemporaryDirectory(prefix="adapt-vocabulary-") as trial:
            ids = extend_tokenizer(load_tokenizer(folder), [word.token for word in chosen], Path(trial))
            written = occurrences(load_tokenizer(Path(trial)), ids, texts)
        unused = {word.token for word, times in zip(chosen, written, strict=True) if not times}
        if not unused:
            break
        rejected |= unused
    return [word for word in chosen if word.token not in rejected]


def occurrences(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], texts: Sequence[str]) -> list[int]:
    """How often each of these tokens is written in the texts."""
    backend, counts = backend_of(tokenizer), Counter[int]()
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        some = [texts[index] for index in range(start, min(start + TEXTS_AT_A_TIME, len(texts)))]
        for encoding in backend.encode_batch_fast(some, add_special_tokens=False):
            counts.update(encoding.ids)
    return [counts[number] for number in ids]


def extend_tokenizer(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str], folder: Path) -> list[int]:
    """Write the tokenizer, extended by ``tokens``, into the folder; returns their ids, one each.

    WordPiece gets them as added tokens that match whole words of normalised text: in its own vocabulary, a word would
    also match the beginning of longer words. Byte-level BPE gets them in its vocabulary, without merges, and looks
    each word up there before it merges (``ignore_merges``): an added token would lose the space before it. It is then
    written as a plain fast tokenizer, because classes such as RobertaTokenizer rebuild their BPE without that setting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    byte_level = is_byte_level(backend_of(tokenizer))
    if not byte_level:
        tokenizer.add_tokens([AddedToken(token, single_word=True, normalized=True) for token in tokens])
    first = max(tokenizer.get_vocab().values()) + 1
    tokenizer.save_pretrained(folder)
    if byte_level:
        added = {token: first + position for position, token in enumerate(tokens)}
        edit(folder / "tokenizer.json", lambda whole: learn(whole["model"], added))
        edit(folder / "tokenizer_config.json", lambda whole: whole.update(tokenizer_class="PreTrainedTokenizerFast"))
    make_relocatable(folder)
    vocabulary = load_tokenizer(folder).get_vocab()
    return [vocabulary[token] for token in tokens]


@torch.no_grad()
def extend_weights(model: PreTrainedModel, pieces: Mapping[int, Sequence[int]]) -> None:
    """Give each new id the mean of its pieces' rows (Hong et al., 2021): E[new] = sum of E[piece] / pieces.

    Applied to the input embedding, to the output embedding if it is not tied, and to the output's bias; the other rows
    stay as they are. pieces: new id -> ids of its pieces. Rows are added where the model has too few.
    """
    rows = max(len(tables(model)[0]), max(pieces) + 1)
    model.resize_token_embeddings(rows, mean_resizing=False)
    for table in tables(model):
        assert len(table) == rows
        means = torch.stack([table[list(ids)].mean(dim=0) for ids in pieces.values()])
        table[list(pieces)] = means


def tables(model: PreTrainedModel) -> list[Tensor]:
    """The parameters that have one row per token, each listed once: [V, d], and biases [V]."""
    output = model.get_output_embeddings()
    weights = [cast(nn.Embedding, model.get_input_embeddings()).weight]
    weights += [] if output is None else list(cast(nn.Module, output).parameters())
    return list({id(table): table for table in weights}.values())


def fertility(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """Tokens per word of the texts: without special tokens; words are what stands between spaces."""
    backend, tokens, words = backend_of(tokenizer), 0, 0
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        some = [texts[index] for index in range(start, min(start + TEXTS_AT_A_TIME, len(texts)))]
        tokens += sum(len(encoding.ids) for encoding in backend.encode_batch_fast(some, add_special_tokens=False))
        words += sum(len(text.split()) for text in some)
    return tokens / max(1, words)


def backend_of(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy of a fast tokenizer's backend, without truncation and padding.

    Raises ConfigError unless it is WordPiece or byte-level BPE.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    kind = "no fast tokenizer" if backend is None else type(backend.model).__name__
    if backend is None or not (kind == "WordPiece" or (kind == "BPE" and is_byte_level(backend))):
        raise ConfigError(
            f"vocabulary.new_tokens: the model's tokenizer is of the kind {kind}; only WordPiece and byte-level BPE "
            "can be extended; set vocabulary=none"
        )
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def is_byte_level(backend: Tokenizer) -> bool:
    """Whether words reach the tokenizer's model as bytes, including the space before them."""
    before = json.loads(backend.to_str())["pre_tokenizer"] or {}
    return any(part["type"] == "ByteLevel" for part in before.get("pretokenizers", [before]) if part)


def word_reader(backend: Tokenizer) -> Callable[[str], Iterator[str]]:
    """A function that gives those words of a text that may become tokens, as the tokenizer would write them."""
    normalizer, before = backend.normalizer, backend.pre_tokenizer

    def normalised(text: str) -> str:
        return text if normalizer is None else normalizer.normalize_str(text)

    def words(text: str) -> Iterator[str]:
        return (word for word in runs().findall(normalised(text)) if is_word(word))

    def byte_level_words(text: str) -> Iterator[str]:
        text = normalised(text)
        for token, (start, end) in before.pre_tokenize_str(text):
            word = text[start:end].removeprefix(" ")
            if runs().fullmatch(word) and is_word(word):
                yield token

    return byte_level_words if is_byte_level(backend) else words


@cache
def runs() -> re.Pattern[str]:
    r"""Runs of what the backend takes for parts of a word: Python's ``\w``, and marks and joiners, which it lacks."""
    places = (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0))
    marks = "".join(re.escape(chr(place)) for place in places if unicodedata.category(chr(place)).startswith("M"))
    return re.compile(rf"[\w{marks}\u200c\u200d]+")


def is_word(run: str) -> bool:
    """Whether a run has a letter, so that it is more than a number, and no _, which the backend counts as a letter."""
    return "_" not in run and any(map(str.isalpha, run))


def splitter(backend: Tokenizer) -> Callable[[str], tuple[int, ...]]:
    """A function that gives the ids of a word's pieces."""
    if is_byte_level(backend):
        return lambda word: tuple(token.id for token in backend.model.tokenize(word))
    return lambda word: tuple(backend.encode(word, add_special_tokens=False).ids)


def learn(bpe: dict, added: Mapping[str, int]) -> None:
    """Put tokens with their ids into the JSON of a BPE, and make it look up whole words first."""
    bpe["vocab"].update(added)
    bpe["ignore_merges"] = True


def edit(file: Path, change: Callable[[dict], None]) -> None:
    """Change the content of a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
