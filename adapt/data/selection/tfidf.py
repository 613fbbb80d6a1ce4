"""TF-IDF features, fitted to any number of texts without holding their counts in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from adapt.config import ConfigError
from adapt.data import characters

KEY_NAME = "data.selection.tfidf"
VERSION = 2
MIN_TEXTS = 2  # a word of only one text cannot make two texts similar

ANALYSIS = {"preprocessor": characters.comparable, "tokenizer": characters.terms, "token_pattern": None}


def fitted(texts: Iterable[str]) -> TfidfVectorizer:
    """scikit-learn's vectorizer as its fit would leave it; memory grows only with the vocabulary.

    Words of two or more letters, marks or digits, or pairs of characters of scripts without spaces (characters.terms),
    that occur in at least MIN_TEXTS texts, stop words included (idf makes them small); 1 + ln(tf), idf = 1 +
    ln((1 + texts) / (1 + texts with the word)), rows of length 1, float32. Raises ConfigError if no two texts share a
    word.
    """
    analyse = TfidfVectorizer(**ANALYSIS).build_analyzer()
    frequency: Counter[str] = Counter()
    number = 0
    for text in texts:
        frequency.update(set(analyse(text)))
        number += 1
    words = sorted(word for word, count in frequency.items() if count >= MIN_TEXTS)
    if not words:
        raise ConfigError(f"selection.method=tfidf: no two of {number} texts share a word; give a larger corpus")
    vectorizer = TfidfVectorizer(**ANALYSIS, vocabulary=words, sublinear_tf=True, dtype=np.float32)
    counts = np.array([frequency[word] for word in words], dtype=np.float64)
    vectorizer.idf_ = (np.log((1 + number) / (1 + counts)) + 1).astype(np.float32)
    return vectorizer
