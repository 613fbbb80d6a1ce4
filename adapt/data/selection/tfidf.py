"""TF-IDF rows of any number of texts, fitted without holding their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from adapt.config import ConfigError

KEY_NAME = "data.selection.tfidf"
VERSION = 1
# A word of one text alone brings no two texts together.
MIN_TEXTS = 2


def fitted(texts: Iterable[str]) -> TfidfVectorizer:
    """scikit-learn's vectorizer as fit would leave it, with memory for the vocabulary alone.

    Lower case, words of two and more letters or digits, no stop words (idf makes them small), those of MIN_TEXTS texts
    and more; 1 + ln(tf), idf = 1 + ln((1 + texts) / (1 + texts with the word)), rows of length 1, float32.
    Raises ConfigError where no two texts share a word.
    """
    analyse = TfidfVectorizer().build_analyzer()
    frequency: Counter[str] = Counter()
    number = 0
    for text in texts:
        frequency.update(set(analyse(text)))
        number += 1
    words = sorted(word for word, count in frequency.items() if count >= MIN_TEXTS)
    if not words:
        raise ConfigError(f"selection.method=tfidf: no two of {number} texts share a word; give a larger corpus")
    vectorizer = TfidfVectorizer(vocabulary=words, sublinear_tf=True, dtype=np.float32)
    counts = np.array([frequency[word] for word in words], dtype=np.float64)
    vectorizer.idf_ = (np.log((1 + number) / (1 + counts)) + 1).astype(np.float32)
    return vectorizer
