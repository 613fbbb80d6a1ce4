"""Where words begin: the same for WordPiece, byte-level BPE and Unigram."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from adapt.data.tokens import batching, mixing
from adapt.data.tokens.pieces import SequenceFormat
from adapt.data.tokens.tokens import load_tokens, write_folder
from adapt.data.tokens.words import word_starts

TEXT = "The unfortunate cats' naïve proto-typing of 3.5 tea_cups, 水素 and 🧪!"
SPACED = "The unfortunate cats ' naïve proto - typing of 3 . 5 tea_cups , 水 素 and 🧪 !"
CORPUS = [SPACED.replace("tea_cups", "tea _ cups"), "fortune cat typed the cup of tea", "un for tun ate ve pro to"]
CORPUS += [" ".join(SPACED)]  # each character on its own, so that none is unknown


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(handle_chinese_chars=True, lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]"]))
    return tokenizer


def byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=90, unk_token="<unk>"))
    return tokenizer


def unsplit_bpe() -> Tokenizer:
    """Like some Llama tokenizers: spaces become a visible character before the model, and nothing is split."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.train_from_iterator(
        [word for text in CORPUS for word in text.split()], trainers.BpeTrainer(vocab_size=60)
    )
    return tokenizer


@pytest.mark.parametrize("make", [word_piece, byte_bpe, unigram, unsplit_bpe])
def test_every_kind_of_tokenizer_has_the_same_words(make) -> None:
    encoding = make().encode(TEXT)
    starts = word_starts(TEXT, encoding.offsets)
    first = [begin for (begin, _), begins in zip(encoding.offsets, starts, strict=True) if begins]
    cuts = [TEXT[a:b].strip() for a, b in zip(first, [*first[1:], len(TEXT)], strict=True)]
    assert [cut for cut in cuts if cut] == SPACED.split()
    assert sum(starts) < len(starts)


def test_by_hand() -> None:
    text = "ab, c\u0301d 水素"
    offsets = [(0, 1), (1, 2), (2, 3), (3, 5), (5, 7), (7, 8), (8, 9), (9, 10)]
    #           a       b       ,       " c"    mark+d  space   水      素
    assert word_starts(text, offsets) == [True, False, True, True, False, True, True, True]


def test_bytes_of_one_character_begin_one_word() -> None:
    assert word_starts("a 🧪", [(0, 1), (1, 3), (2, 3), (2, 3)]) == [True, True, False, False]


def test_a_special_token_covers_nothing_and_begins_a_word() -> None:
    assert word_starts("ab", [(0, 0), (0, 2), (0, 0)]) == [True, True, True]


@pytest.mark.parametrize("packed", [False, True])
def test_marks_come_through_the_files_to_the_batch(tmp_path, packed: bool) -> None:
    """The words of a batch are those of the texts, and the ids are those of a file without marks."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_bpe(), eos_token="!", pad_token="!")
    texts = ["unfortunate cats typed", "fortune of tea cups and cats", "", "cat"]
    read = {}
    for words in (True, False):
        folder = tmp_path / str(words)
        folder.mkdir()
        form = SequenceFormat(7, packed, words)
        write_folder(folder, tokenizer, {"train": texts, "heldout": texts[:1]}, form)
        read[words] = load_tokens(folder).train
    assert read[True].words and not read[False].words
    everything = range(len(read[True]))
    marked = batching.collate(tokenizer, mixing.Mixture([read[True]]), everything)
    plain = batching.collate(tokenizer, read[False], everything)
    assert "word_starts" not in plain
    assert all(torch.equal(value, marked[name]) for name, value in plain.items())
    ordinary = (marked["special_tokens_mask"] == 0) & (marked["attention_mask"] == 1)
    assert int((marked["word_starts"] == 1)[ordinary].sum()) == sum(len(text.split()) for text in texts)
    begun = tokenizer.convert_ids_to_tokens(marked["input_ids"][(marked["word_starts"] == 1) & ordinary].tolist())
    starts = [word for text in texts for word in text.split()]
    assert all(word.startswith(token.lstrip("Ġ")) for token, word in zip(begun, starts, strict=True))
