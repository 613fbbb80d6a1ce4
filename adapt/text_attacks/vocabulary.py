"""Which entries of a tokenizer's vocabulary are words by themselves, and which tokens a word of a text became."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from adapt.text_attacks.words import is_word

KEY_NAME = "text_attacks.vocabulary"
VERSION = 1


def whole_words(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Token id -> the word that it is, for every token that is a whole word with a letter.

    A token is one if the word it decodes to, after a space, is encoded as that token alone: this leaves out the pieces
    of words, punctuation and special tokens of word-piece, byte-pair and sentence-piece vocabularies by one rule.
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
    """The places of the tokens whose characters overlap start to end; offsets: (0, 0) for special tokens."""
    return [place for place, (first, last) in enumerate(offsets) if first < end and last > start and last > first]
