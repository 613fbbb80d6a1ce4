"""Vocabulary overlap of two domains, and the fertility of a tokenizer on each.

- Overlap (Gururangan et al., 2020, figure 2): the share of the TOP_WORDS most frequent words of one domain, stop words
  left out, that are among those of the other. If one domain has fewer words, both lists are cut to its length, so that
  the share is the same from either side and can reach 1.
- Fertility (Rust et al., 2021, "How Good is Your Tokenizer?", section 3.2): tokens per word, and the share of words
  that stay whole (1 - their "proportion of continued words"). A word here is a run of letters, marks and digits.

Stop words are scikit-learn's English list. Of scripts without spaces, the vocabulary is of pairs of adjacent
characters, and the fertility is tokens per character (adapt/data/characters.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from transformers import PreTrainedTokenizerBase

from adapt.data import characters
from adapt.data.text import normalise

KEY_NAME = "data.vocabulary_overlap"
VERSION = 2
TOP_WORDS = 10_000
DOCUMENTS = 50_000  # sampled from a domain (Gururangan et al., 2020, section 3.1)
FERTILITY_DOCUMENTS = 2_000  # of the sample: a mean over some hundred thousand words needs no more
BATCH = 256  # documents that are tokenised together
SEED = 0


@dataclass(frozen=True)
class Fertility:
    """Over ``words`` running words: tokens per word, and the share that is one token other than the unknown one."""

    tokens_per_word: float
    whole_words: float
    words: int


def sample(texts: Sequence[str], count: int = DOCUMENTS) -> list[str]:
    """``count`` of the texts at random (the same ones each time), in order; all of them if there are no more."""
    if len(texts) <= count:
        return [texts[index] for index in range(len(texts))]
    chosen = np.random.default_rng(SEED).choice(len(texts), count, replace=False)
    return [texts[int(index)] for index in np.sort(chosen)]


def content_words(text: str) -> list[str]:
    """The text's words in lower case: two or more characters, at least one of them a letter, and no stop words."""
    words = characters.words(normalise(text))
    return [word for word in words if len(word) > 1 and not word.isdigit() and word not in ENGLISH_STOP_WORDS]


def frequent_words(texts: Iterable[str], top: int = TOP_WORDS) -> list[str]:
    """The ``top`` most frequent content words, most frequent first.

    Equally frequent words are in the order of their first occurrence, which differs between domains. In alphabetical
    order, two lists that are cut among their rare words would end in the same words by construction.
    """
    counts = Counter(word for text in texts for word in content_words(text))
    return [word for word, _ in counts.most_common(top)]


def overlap(a: Sequence[str], b: Sequence[str]) -> tuple[float, int]:
    """|A & B| / k for the first k words of two lists, where k is the length of the shorter list; and k.

    Raises ValueError if a list is empty.
    """
    k = min(len(a), len(b))
    if k == 0:
        raise ValueError("a domain without words has no vocabulary to compare")
    return len(set(a[:k]) & set(b[:k])) / k, k


def fertility(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Fertility:
    """The fertility of a fast tokenizer on the running words of the texts, from the offsets of its tokens.

    A token counts for each word of which it covers a character; tokens of punctuation or spaces only count for none.
    NaN if there is no word. Raises ValueError for a tokenizer that returns no offsets.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} does not tell where its tokens are in a text")
    tokens, whole, words = 0, 0, 0
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        encoding = tokenizer(batch, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        for text, ids, offsets in zip(batch, encoding["input_ids"], encoding["offset_mapping"], strict=True):
            counts, unknown = tokens_of_words(text, ids, offsets, tokenizer.unk_token_id)
            tokens += int(counts.sum())
            whole += int(((counts == 1) & ~unknown).sum())
            words += len(counts)
    return Fertility(tokens / words, whole / words, words) if words else Fertility(np.nan, np.nan, 0)


def tokens_of_words(
    text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], unknown_id: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """For each of the text's W words: how many tokens cover part of it, and whether one is the unknown token.

    offsets: the characters [begin, end) of each token, ascending, as fast tokenizers return them. Returns two arrays
    [W].
    """
    spans = np.array([span for span in characters.spans(text)], dtype=np.int64).reshape(-1, 2)
    covering = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    covers_something = covering[:, 1] > covering[:, 0]
    covering, known = covering[covers_something], np.array(ids, dtype=np.int64)[covers_something] != unknown_id
    first = np.searchsorted(
        covering[:, 1], spans[:, 0], side="right"
    )  # the first token that ends after the word's start
    last = np.searchsorted(covering[:, 0], spans[:, 1], side="left")  # the first token that begins after the word's end
    unknown_before = np.concatenate([[0], np.cumsum(~known)])
    return last - first, unknown_before[last] > unknown_before[first]
