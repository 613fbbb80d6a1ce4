"""Words that two domains share, and tokens per word, counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from adapt.data import vocabulary_overlap as vocabularies

LETTERS = st.lists(st.sampled_from(["aa", "bb", "cc", "dd", "ee", "ff", "gg"]), min_size=1, max_size=12)


def word_piece(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    pieces = {piece: number for number, piece in enumerate(["[UNK]", *vocabulary])}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


def bytes_alone() -> PreTrainedTokenizerFast:
    """A tokenizer in which every byte is a token, spaces included."""
    alphabet = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_stop_words_numbers_and_single_letters_are_no_content_words() -> None:
    assert vocabularies.content_words("The Kinase, p53 and 42 of x: kinase's") == ["kinase", "p53", "kinase"]


def test_frequent_words_stand_by_frequency_and_then_as_they_first_occur() -> None:
    texts = ["zebra apple", "mango zebra apple", "mango kiwi"]
    assert vocabularies.frequent_words(texts) == ["zebra", "apple", "mango", "kiwi"]
    assert vocabularies.frequent_words(texts, top=2) == ["zebra", "apple"]


def test_the_overlap_of_four_words_that_share_one_is_a_quarter() -> None:
    assert vocabularies.overlap(["cell", "gene", "drug", "dose"], ["film", "gene", "plot", "star"]) == (0.25, 4)


def test_the_shorter_list_decides_how_many_words_are_compared() -> None:
    # Only the first two words of the longer list count: "gene" is its third.
    assert vocabularies.overlap(["gene", "cell"], ["cell", "film", "gene", "plot"]) == (0.5, 2)


@given(LETTERS, LETTERS)
def test_overlap_is_symmetric_and_whole_with_itself(a: list[str], b: list[str]) -> None:
    one, other = (vocabularies.frequent_words([" ".join(words)]) for words in (a, b))
    assert vocabularies.overlap(one, other) == vocabularies.overlap(other, one)
    assert vocabularies.overlap(one, one) == (1.0, len(set(a)))
    assert vocabularies.overlap(one, other)[0] <= 1


def test_no_words_have_no_overlap() -> None:
    with pytest.raises(ValueError, match="without words"):
        vocabularies.overlap([], ["gene"])


def test_a_sample_is_the_same_each_time_and_in_order() -> None:
    texts = [f"{number:04}" for number in range(1000)]
    chosen = vocabularies.sample(texts, 50)
    assert chosen == vocabularies.sample(texts, 50) and chosen == sorted(set(chosen)) and len(chosen) == 50
    assert 300 < sum(map(int, chosen)) / 50 < 700  # from all the texts, not only the first ones
    assert vocabularies.sample(texts, 2000) == texts


def test_fertility_counts_pieces_of_words_alone() -> None:
    tokenizer = word_piece(["gene", "kin", "##ase", "##s", ",", "."])
    # Gene 1, kinases 3 (kin ##ase ##s), gene 1; punctuation is no word; "Xylem" is unknown: one token, but not whole
    measured = vocabularies.fertility(tokenizer, ["Gene, kinases.", "gene Xylem ..."])
    assert measured == vocabularies.Fertility(tokens_per_word=6 / 4, whole_words=2 / 4, words=4)


def test_a_blank_in_front_and_letters_of_two_bytes_are_their_words_own() -> None:
    # " ab" is three bytes, and the space covers no letter of the word; "é" is two bytes, which both cover a letter
    measured = vocabularies.fertility(bytes_alone(), ["a ab é"])
    assert measured.tokens_per_word == (1 + 2 + 2) / 3
    assert measured.whole_words == 1 / 3


def test_batches_of_documents_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, texts = word_piece(["gene", "kin", "##ase", "##s"]), ["gene kinase", "kinases", "gene gene", ""] * 3
    whole = vocabularies.fertility(tokenizer, texts)
    monkeypatch.setattr(vocabularies, "BATCH", 5)
    assert vocabularies.fertility(tokenizer, texts) == whole


def test_texts_without_words_have_no_fertility() -> None:
    measured = vocabularies.fertility(word_piece(["gene"]), ["...", ""])
    assert math.isnan(measured.tokens_per_word) and measured.words == 0


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="Slow does not tell where"):
        vocabularies.fertility(Slow(), ["gene"])  # type: ignore[arg-type]
