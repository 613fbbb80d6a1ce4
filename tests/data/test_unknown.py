"""What a tokenizer knows of a text, by hand: unknown tokens, joined and dropped ones, bytes, cut and empty examples."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from adapt.data.tokens.reading import read
from adapt.data.tokens.unknown import Gauge, Known
from adapt.data.visible import is_blank, visible
from adapt.models import loading
from adapt.store.sources import ASSETS


def fast(model: object, before: object = None, normalizer: object = None, **special: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(model)
    if before is not None:
        backend.pre_tokenizer = before
    if normalizer is not None:
        backend.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def wordpiece() -> PreTrainedTokenizerFast:
    words = ["[UNK]", "[CLS]", "[SEP]", "the", "cat", "##s", "영화"]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = fast(
        models.WordPiece(vocabulary, unk_token="[UNK]"), pre_tokenizers.BertPreTokenizer(), unk_token="[UNK]"
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return tokenizer


def unigram(*, byte_fallback: bool = False) -> PreTrainedTokenizerFast:
    pieces = [("<unk>", 0.0), ("\u2581", -2.0), ("\u2581the", -3.0), ("\u2581cat", -3.0), (".", -4.0)]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)] if byte_fallback else []
    return fast(models.Unigram(pieces, unk_id=0, byte_fallback=byte_fallback), pre_tokenizers.Metaspace())


def dropping() -> PreTrainedTokenizerFast:
    """A BPE without an unknown token: what it does not know leaves no trace."""
    return fast(models.BPE({"A": 0, "C": 1, "G": 2, "T": 3}, []), pre_tokenizers.Whitespace())


def joining() -> PreTrainedTokenizerFast:
    vocabulary = {"<unk>": 0, "a": 1, "b": 2}
    return fast(models.BPE(vocabulary, [], unk_token="<unk>", fuse_unk=True), pre_tokenizers.Whitespace())


def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2: its unknown token is its end of text, which stands for no text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*alphabet, "<end>"])}
    tokenizer = fast(
        models.BPE(vocabulary, [], unk_token="<end>"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        unk_token="<end>",
    )
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def known_of(tokenizer: PreTrainedTokenizerFast, *texts: str) -> Known:
    return read(tokenizer, [(text,) for text in texts], 100).known


@pytest.mark.parametrize(
    ("tokenizer", "texts", "expected"),
    [
        # One unknown token a word, whether one letter of it is unknown or all are.
        (wordpiece(), ["the cats", "영화 재미 the"], Known(texts=2, unread=0, tokens=6, unknown=1)),
        (wordpiece(), ["재미 있다", "the"], Known(texts=2, unread=1, tokens=3, unknown=2)),
        # Unigram joins them: one token of four stands for nine characters of thirteen.
        (unigram(), ["the 영화가재미있었다 ."], Known(1, 0, 5, 1, 0, characters=12, lost=8)),
        (unigram(), ["the cat"], Known(1, 0, 2, 0, 0, characters=6, lost=0)),
        (joining(), ["ab 猫犬鳥 ba"], Known(1, 0, 5, 1, 0, characters=7, lost=3)),
        # Left out without a trace: two tokens, but two characters of four are lost.
        (dropping(), ["AxCz", "xyz"], Known(2, 1, 2, 0, 0, characters=7, lost=5)),
        # Bytes are known: three of each of two syllables.
        (byte_level(), ["영화"], Known(texts=1, tokens=6)),
        (unigram(byte_fallback=True), ["영화 the"], Known(texts=1, tokens=8, in_bytes=6)),
    ],
)  # fmt: skip
def test_counts_by_hand(tokenizer: PreTrainedTokenizerFast, texts: list[str], expected: Known) -> None:
    assert known_of(tokenizer, *texts) == expected


def test_the_embedded_tokenizer_knows_english_but_no_korean() -> None:
    tokenizer = loading.load_tokenizer(ASSETS / "tiny")
    korean = known_of(tokenizer, "이 영화 정말 재미있고 감동적이다.", "지루하고 시간이 아까운 영화다.")
    assert korean.unknown / korean.tokens > 0.8 and korean.unread == 0  # the full stop is known
    assert known_of(tokenizer, "the array of eigenvalues").unknown == 0


def test_a_vocabulary_that_is_read_in_the_wrong_case_or_form() -> None:
    """A lower-casing normalizer strips marks, and with them the vowels of a cased vocabulary."""
    words = ["[UNK]", "Die", "Übung", "영화"]
    model = models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    before = pre_tokenizers.BertPreTokenizer()
    text = "Die Übung 영화"
    assert known_of(fast(model, before, unk_token="[UNK]"), text).unknown == 0
    assert (
        known_of(fast(model, before, normalizers.BertNormalizer(lowercase=True), unk_token="[UNK]"), text).unknown == 3
    )


def test_examples_that_are_cut_unread_or_empty() -> None:
    """[CLS] and [SEP] count: 2 + 2 tokens fit 4; of a pair both texts and three special tokens."""
    one = read(wordpiece(), [("the cat",), ("the the cat",), ("the", "cat")], 4)
    assert (one.examples, one.truncated, one.unread, one.empty) == (3, 2, [], [])
    assert read(wordpiece(), [("the", "재미"), ("재미",), ("the",)], 9).unread == [0, 1]
    assert read(dropping(), [("ACGT",), ("xyz",), ("",)], 9).empty == [1, 2]  # it puts nothing around a text
    assert read(wordpiece(), [("",)], 9).empty == [] and read(wordpiece(), [("",)], 9).unread == [0]


def test_the_gauge_counts_ids_it_is_given() -> None:
    gauge = Gauge(wordpiece())
    known, unread = gauge.of(["a", "b", "c"], np.array([0, 3, 0]), np.array([1, 2, 0]))
    assert (known.tokens, known.unknown, known.unread) == (3, 2, 2)
    assert unread.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "\u200b\u200d\ufeff",
        "\x00\x07\x1b",
        "\u00ad",
        "\u3164\u115f",
        "\u2800",
        "\ufe0f",
        "\u3000\u00a0",
        "\u2028",
    ],
)
def test_blank_texts(text: str) -> None:
    assert is_blank(text) and visible(text) == 0


@pytest.mark.parametrize("text", [".", "\u200ba", "한", "\u0e01", "👍", "\ue000", "ि", "０"])
def test_texts_with_something_to_see(text: str) -> None:
    assert not is_blank(text) and visible(text) == 1
