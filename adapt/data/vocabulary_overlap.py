"""How far two domains share their words, and into how many tokens a tokenizer cuts the words of each.

- Overlap (Gururangan et al., 2020, figure 2): the share of the TOP_WORDS most frequent words of one domain, stop words
  left out, that are among those of the other. A domain with fewer words shortens both lists to its own length, so that
  the share is the same from either side and can reach 1.
- Fertility (Rust et al., 2021, "How Good is Your Tokenizer?", section 3.2): tokens a word, and the share of words that
  stay whole (1 - their "proportion of continued words"). A word here is a run of letters and digits.

Stop words are scikit-learn's English list. Languages written without spaces have no words here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from transformers import PreTrainedTokenizerBase

from adapt.data.text import normalise

KEY_NAME = "data.vocabulary_overlap"
VERSION = 1
TOP_WORDS = 10_000
DOCUMENTS = 50_000  # sampled of a domain (Gururangan et al., 2020, section 3.1)
FERTILITY_DOCUMENTS = 2_000  # of those: a mean over some hundred thousand words needs no more
BATCH = 256  # documents that are tokenised together
SEED = 0

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Fertility:
    """Of ``words`` running words: tokens each, and the share that is one token which is not the unknown one."""

    tokens_per_word: float
    whole_words: float
    words: int


def sample(texts: Sequence[str], count: int = DOCUMENTS) -> list[str]:
    """``count`` of the texts at random, in their order, the same ones each time; all where there are no more."""
    if len(texts) <= count:
        return [texts[index] for index in range(len(texts))]
    chosen = np.random.default_rng(SEED).choice(len(texts), count, replace=False)
    return [texts[int(index)] for index in np.sort(chosen)]


def content_words(text: str) -> list[str]:
    """Its words in lower case: of two or more signs, one at least a letter, and no stop word."""
    found = normalise(text).split()
    return [word for word in found if len(word) > 1 and not word.isdigit() and word not in ENGLISH_STOP_WORDS]


def frequent_words(texts: Iterable[str], top: int = TOP_WORDS) -> list[str]:
    """The ``top`` most frequent content words, most frequent first.

    Equally frequent ones stand as they first occur, an order that two domains do not share: by the alphabet, the words
    at the end of two lists that are cut among their rare words would be alike by construction.
    """
    counts = Counter(word for text in texts for word in content_words(text))
    return [word for word, _ in counts.most_common(top)]


def overlap(a: Sequence[str], b: Sequence[str]) -> tuple[float, int]:
    """|A & B| / k of the first k words of two lists, k the length of the shorter one; and k.

    Raises ValueError where a list is empty.
    """
    k = min(len(a), len(b))
    if k == 0:
        raise ValueError("a domain without words has no vocabulary to compare")
    return len(set(a[:k]) & set(b[:k])) / k, k


def fertility(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Fertility:
    """Of the words as they stand in the texts, under a fast tokenizer, by where its tokens lie.

    A token counts for each word that it covers a letter of, so that signs and blanks of their own count for none. NaN
    where there is no word. Raises ValueError for a tokenizer that does not tell where its tokens lie.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} does not tell where its tokens are in a text")
    tokens, whole, words = 0, 0, 0
    for start in range(0, len(texts), BATCH):
        some = list(texts[start : start + BATCH])
        found = tokenizer(some, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        for text, ids, offsets in zip(some, found["input_ids"], found["offset_mapping"], strict=True):
            counts, unknown = tokens_of_words(text, ids, offsets, tokenizer.unk_token_id)
            tokens += int(counts.sum())
            whole += int(((counts == 1) & ~unknown).sum())
            words += len(counts)
    return Fertility(tokens / words, whole / words, words) if words else Fertility(np.nan, np.nan, 0)


def tokens_of_words(
    text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], unknown_id: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """For each word of the text the tokens that cover a letter of it, and whether one of them is the unknown token.

    offsets: first and last character + 1 of each token, ascending, as fast tokenizers give them. Returns two [W].
    """
    spans = np.array([match.span() for match in _WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)
    covering = np.array(offsets, dtype=np.int64).reshape(-1, 2)
    covers_something = covering[:, 1] > covering[:, 0]
    covering, known = covering[covers_something], np.array(ids, dtype=np.int64)[covers_something] != unknown_id
    first = np.searchsorted(covering[:, 1], spans[:, 0], side="right")  # the first token that ends within or behind
    last = np.searchsorted(covering[:, 0], spans[:, 1], side="left")  # the first that begins behind
    unknown_before = np.concatenate([[0], np.cumsum(~known)])
    return last - first, unknown_before[last] > unknown_before[first]
