"""Texts as token ids: nothing is lost, for every kind of tokenizer, and cuts are the same as those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from adapt.config import ConfigError
from adapt.data.corpora import Corpus, write_corpus
from adapt.data.tokens import pieces, tokens
from adapt.data.tokens.batching import collate
from adapt.data.tokens.pieces import SequenceFormat, flat_ids, parts_of
from adapt.stages.tokens import tokens as tokens_stage

WORDS = ["the", "cat", "sat", "on", "a", "mat", "saw,", "it's", "27", "grey", "doves;", "naïve", "größe", "猫", "end."]
TEXT = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)


def wordpiece() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer, inner.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner.train_from_iterator([" ".join(WORDS[:-3])], trainers.WordPieceTrainer(vocab_size=60, special_tokens=special))
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner.enable_truncation(4)  # as in some tokenizer.json files
    inner.enable_padding()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def byte_level(**names: str) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    inner.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    if "mask_token" in names:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


TOKENIZERS = {
    "wordpiece": wordpiece(),
    "byte level": byte_level(bos_token="<s>", eos_token="</s>", mask_token="<mask>"),
    "decoder": byte_level(eos_token="</s>"),
}


def written(folder: Path, tokenizer: Any, texts: list[str], **form: Any) -> tokens.Sequences:
    file = folder / "some.arrow"
    tokens.write_tokens(file, tokenizer, texts, SequenceFormat(**form))
    return tokens.Sequences(file)


def all_ids(sequences: tokens.Sequences) -> list[list[int]]:
    return [sequences.ids(index).tolist() for index in range(len(sequences))]


def whole(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens")


@pytest.mark.parametrize("name", ["wordpiece", "byte level"])
@given(st.lists(TEXT, min_size=1, max_size=8), st.integers(3, 20))
@settings(deadline=None, max_examples=40)
def test_cut_as_transformers_cuts(folder: Path, name: str, texts: list[str], length: int) -> None:
    tokenizer = TOKENIZERS[name]
    texts = [text for text in texts if text] or ["a"]
    sequences = written(folder, tokenizer, texts, max_length=length, packed=False)
    theirs = tokenizer(
        texts, truncation=True, max_length=length, stride=0, return_overflowing_tokens=True, return_length=True
    )
    assert all_ids(sequences) == theirs["input_ids"]
    assert sequences.documents.tolist() == theirs["overflow_to_sample_mapping"]
    assert sequences.lengths.tolist() == list(map(len, theirs["input_ids"]))


@pytest.mark.parametrize("name", list(TOKENIZERS))
@pytest.mark.parametrize("packed", [False, True])
@given(st.lists(TEXT, min_size=1, max_size=12), st.integers(3, 40), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_no_token_is_lost_or_moved(
    folder: Path, name: str, packed: bool, texts: list[str], length: int, batch: int
) -> None:
    tokenizer = TOKENIZERS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "BATCH_TEXTS", batch)  # a sequence may hold texts of several batches
        sequences = written(folder, tokenizer, texts, max_length=length, packed=packed)
    special = set(tokenizer.all_special_ids)
    seen: dict[int, list[int]] = {}
    for index in range(len(sequences)):
        parts = np.split(sequences.ids(index), sequences.starts(index)[1:])
        for text, part in zip(sequences.texts(index).tolist(), parts, strict=True):
            inside = part.tolist()
            if name != "decoder":
                assert inside[0] in special and inside[-1] in special
                inside = inside[1:-1]
            seen.setdefault(text, []).extend(inside)
    end = [tokenizer.eos_token_id] if name == "decoder" else []  # once, after the last token of a text
    expected = {number: whole(tokenizer, text) + end for number, text in enumerate(texts) if whole(tokenizer, text)}
    assert seen == expected and list(seen) == list(expected)
    assert all(sequences.lengths <= length)
    assert sequences.document_count == len(expected)
    assert sequences.documents.tolist() == [sequences.texts(index)[0] for index in range(len(sequences))]


@given(st.lists(TEXT, min_size=2, max_size=20), st.integers(4, 30))
@settings(deadline=None, max_examples=40)
def test_packed_sequences_are_as_full_as_whole_texts_allow(folder: Path, texts: list[str], length: int) -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    sequences = written(folder, tokenizer, texts, max_length=length, packed=True)
    for index in range(len(sequences) - 1):
        first_of_next = int(np.append(sequences.starts(index + 1), sequences.lengths[index + 1])[1])
        assert sequences.lengths[index] + first_of_next > length
    for index in range(len(sequences)):  # a text that fits in a sequence is never cut
        for text in sequences.texts(index).tolist():
            own = [text in sequences.texts(other) for other in range(len(sequences))]
            assert sum(own) == 1 or len(whole(tokenizer, texts[text])) + 2 > length


def test_a_packed_batch_tells_its_documents_apart(folder: Path) -> None:
    tokenizer = TOKENIZERS["wordpiece"]
    sequences = written(folder, tokenizer, ["the cat", "a mat", "the", "on a mat and on"], max_length=12, packed=True)
    batch = collate(tokenizer, sequences, range(len(sequences)))
    rows = [
        (row[row > 0].tolist(), ids[row > 0].tolist())
        for row, ids in zip(batch["document_ids"], batch["input_ids"], strict=True)
    ]
    for index, (documents, ids) in enumerate(rows):
        assert documents == sorted(documents) and set(documents) == set(range(1, len(sequences.texts(index)) + 1))
        assert ids == sequences.ids(index).tolist()
        begins = [at for at, document in enumerate(documents) if at == 0 or documents[at - 1] != document]
        assert [ids[at] for at in begins] == [tokenizer.cls_token_id] * len(begins)
    assert (batch["document_ids"] > 0).equal(batch["attention_mask"] == 1)
    assert batch["document_ids"].shape == batch["input_ids"].shape and len(sequences) > 1


@pytest.mark.parametrize("name", list(TOKENIZERS))
def test_an_enormous_text_has_the_tokens_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "  ".join([" ".join(WORDS * 40), "\n", " ".join(WORDS[::-1] * 40)])
    monkeypatch.setattr(pieces, "PART", 1100)
    parts = list(parts_of(text))
    assert "".join(parts) == text and len(parts) > 4 and max(map(len, parts)) <= 1100
    ids, lengths = flat_ids(TOKENIZERS[name], ["a", text, "on"])
    split = np.split(ids, np.cumsum(lengths)[:-1])
    assert [part.tolist() for part in split] == [whole(TOKENIZERS[name], each) for each in ("a", text, "on")]


def test_a_text_without_a_space_is_cut_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PART", 1100)
    assert list(map(len, parts_of("x" * 3000))) == [1100, 1100, 800]


@pytest.mark.parametrize("packing", [False, True])
def test_the_stage_is_a_function_of_text_and_tokenizer(world: Path, tmp_path: Path, packing: bool) -> None:
    write_corpus(Corpus(["cat dog horse bird", "gold"], ["iron", "tin zinc"], {}), tmp_path / "text")
    inputs = {"text": tmp_path / "text", "tokenizer": world / "model"}
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        more = {"max_length": 8, "packing": packing, "words": False}
        rows = tokens_stage(None, inputs, tmp_path / name, None, **more)  # type: ignore[arg-type]
        assert {(row["split"], row["metric"]): (row["value"], row["n"]) for row in rows} == {
            ("train", "unknown_tokens"): (0, 5),
            ("train", "unread_texts"): (0, 2),
            ("train", "truncated_texts"): (0, 2),
            ("heldout", "unknown_tokens"): (0, 3),
            ("heldout", "unread_texts"): (0, 2),
            ("heldout", "truncated_texts"): (0, 2),
        }
    one, other = (sorted((tmp_path / name).iterdir()) for name in ("one", "other"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other] and len(one) == 3
    stored = tokens.load_tokens(tmp_path / "one")
    assert stored.train.lengths.tolist() == [6, 3]  # 9 tokens do not fit in 8
    assert stored.heldout.lengths.tolist() == [3, 4]  # never packed
    assert (stored.train.packed, stored.heldout.packed) == (packing, False)


@pytest.mark.parametrize(
    ("corpus", "length", "message"),
    [
        (Corpus(["cat"], [], {"banned": 7}), 8, "no held-out text.*left out before: 7 banned; .*give more"),
        (Corpus(["cat"], [" "], {}), 8, "no held-out text to measure on: 1 documents, without a token; .*none"),
        (Corpus([], ["cat"], {"short": 2}), 8, "no text to train on: .*left out before: 2 short"),
        (Corpus(["cat"], ["cat"], {}), 2, "max_length=2: the tokenizer's special tokens take 2"),
    ],
)  # fmt: skip
def test_what_is_refused(world: Path, tmp_path: Path, corpus: Corpus, length: int, message: str) -> None:
    write_corpus(corpus, tmp_path / "text")
    inputs = {"text": tmp_path / "text", "tokenizer": world / "model"}
    with pytest.raises(ConfigError, match=message):
        tokens_stage(None, inputs, tmp_path, None, max_length=length, packing=False, words=False)  # type: ignore[arg-type]
