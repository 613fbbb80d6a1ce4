"""Data selection with importance resampling (DSIR, Xie et al., 2023): hashed n-grams, weights, and the draw.

Xie, Santurkar, Ma, Liang. Data Selection for Language Models via Importance Resampling. NeurIPS 2023, arXiv:2302.03169.
The paper's documents are chunks of equal length. Log weights are sums over n-grams and mostly negative, so among
documents of mixed lengths short ones are preferred: compare words as well as documents with the random control.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from adapt.data import characters

KEY_NAME = "data.selection.dsir"
VERSION = 2
BUCKETS = 10_000
SMOOTHING = 1e-8  # added to each probability before the logarithm, as in the authors' release

# Unigrams and bigrams of lower-cased words and runs of punctuation, as in the release; characters of scripts without
# spaces are their words. The release hashes with SHA-256, this with MurmurHash3: that is not part of the method.
_FEATURES = HashingVectorizer(
    n_features=BUCKETS,
    ngram_range=(1, 2),
    preprocessor=characters.comparable,
    tokenizer=characters.tokens,
    token_pattern=None,
    alternate_sign=False,
    norm=None,
)


def ngram_counts(texts: Iterable[str]) -> csr_matrix:
    """How many unigrams and bigrams of each text fall into each bucket: [texts, BUCKETS]."""
    return _FEATURES.transform(texts)


def distribution(counts: np.ndarray) -> np.ndarray:
    """Maximum-likelihood probabilities of a bag of n-grams, from bucket counts [V] summed over texts.

    Raises ValueError if all counts are 0.
    """
    if not counts.sum():
        raise ValueError("no n-gram in any text")
    return counts / counts.sum()


def log_ratio(target: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """ln p_target - ln p_raw for each bucket [V], smoothed."""
    return np.log(target + SMOOTHING) - np.log(raw + SMOOTHING)


def log_weights(counts: csr_matrix, target: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """The log importance weight ln(p_target(z) / p_raw(z)) of each text, from its counts z: [N, V] -> [N]."""
    return np.asarray(counts @ log_ratio(target, raw))


def divergence(target: np.ndarray, other: np.ndarray) -> float:
    """KL(target || other) in nats, for smoothed distributions over buckets [V]."""
    return float(target @ log_ratio(target, other))


def kl_reduction(target: np.ndarray, raw: np.ndarray, selected: np.ndarray) -> float:
    """KL(target||raw) - KL(target||selected): how much nearer to the target the selected text is than the raw text."""
    return divergence(target, raw) - divergence(target, selected)


def gumbel_top_k(log_weight: np.ndarray, k: int, seed: int) -> np.ndarray:
    """k distinct indices drawn without replacement in proportion to exp(log_weight) [N], ascending.

    The k largest values of log weight plus standard Gumbel noise are such a draw (Kool et al., 2019); Xie et al. (2023)
    draw so too. Raises ValueError if there are fewer than k.
    """
    if k > len(log_weight):
        raise ValueError(f"{len(log_weight)} documents; {k} are asked for")
    noise = np.random.default_rng(seed).gumbel(size=len(log_weight))
    return np.sort(np.argsort(-(log_weight + noise), kind="stable")[:k])
