"""Which entries of a tokenizer's vocabulary are whole words, and which tokens cover a word of a text."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from adapt.text_attacks.words import is_word

KEY_NAME = "text_attacks.vocabulary"
VERSION = 1


def whole_words(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Token id -> its word, for every token that is a whole word with a letter.

    A token is a whole word if the text that it decodes to, after a space, is encoded as exactly that token. This one
    rule leaves out parts of words, punctuation and special tokens of WordPiece, BPE and SentencePiece vocabularies.
    Cost: one encoding of the vocabulary, about a second for 30,000 entries.
    """
    special = set(tokenizer.all_special_ids)
    ids = [number for number in sorted(tokenizer.get_vocab().values()) if number not in special]
    texts = [text.strip() for text in tokenizer.batch_decode([[number] for number in ids])]
    candidates = [(number, text) for number, text in zip(ids, texts, strict=True) if is_word(text)]
    if not candidates:
        return {}
    encoded = tokenizer([f" {text}" for _, text in candidates], add_special_tokens=False)["input_ids"]
    return {number: text for (number, text), pieces in zip(candidates, encoded, strict=True) if pieces == [number]}


def tokens_of(offsets: list[tuple[int, int]], start: int, end: int) -> list[int]:
    """The indices of the tokens that overlap the characters [start, end); offsets: (0, 0) for special tokens."""
    return [place for place, (first, last) in enumerate(offsets) if first < end and last > start and last > first]
