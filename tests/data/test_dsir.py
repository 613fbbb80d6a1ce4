"""DSIR's weights on a toy by hand, and its draw against the probabilities that it must have."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from adapt.data.selection import dsir


def together(*texts: str) -> np.ndarray:
    return dsir.distribution(np.asarray(dsir.ngram_counts(texts).sum(axis=0)).ravel())


def test_counts_are_of_unigrams_and_bigrams_in_buckets() -> None:
    counts = dsir.ngram_counts(["A b, a", ""]).toarray()
    assert counts.shape == (2, 10_000)
    # a twice; b; the comma; "a b", "b ,", ", a": no two of these share a bucket
    assert sorted(counts[0][counts[0] > 0]) == [1, 1, 1, 1, 1, 2] and not counts[1].any()


def test_weights_and_divergence_by_hand() -> None:
    # target "a a b": a 2/5, b 1/5, "a a" 1/5, "a b" 1/5. raw "a b" and "c c": a, b, "a b", "c c" 1/6 each, c 2/6.
    target, raw = together("a a b"), together("a b", "c c")
    first, second = dsir.log_weights(dsir.ngram_counts(["a b", "c c"]), target, raw)
    assert first == pytest.approx(np.log(12 / 5 * 6 / 5 * 6 / 5), rel=1e-6)
    assert second == pytest.approx(2 * np.log(1e-8 / (1 / 3)) + np.log(1e-8 / (1 / 6)), rel=1e-6)
    to_raw = 2 / 5 * np.log(12 / 5) + 2 / 5 * np.log(6 / 5) + 1 / 5 * np.log(1 / 5 / 1e-8)  # "a a" is not in raw
    assert dsir.divergence(target, raw) == pytest.approx(to_raw, rel=1e-6)
    assert dsir.divergence(target, target) == 0
    assert dsir.kl_reduction(target, raw, target) == pytest.approx(to_raw, rel=1e-6)
    # of "a b" alone: a, b, "a b" 1/3 each
    to_first = 2 / 5 * np.log(6 / 5) + 2 / 5 * np.log(3 / 5) + 1 / 5 * np.log(1 / 5 / 1e-8)
    assert dsir.kl_reduction(target, raw, together("a b")) == pytest.approx(to_raw - to_first, rel=1e-6)


def test_one_draw_has_the_weights_as_its_probabilities() -> None:
    share = np.array([0.1, 0.2, 0.3, 0.4])
    drawn = Counter(int(dsir.gumbel_top_k(np.log(share) + 7.0, 1, seed)[0]) for seed in range(4000))
    assert chisquare([drawn[i] for i in range(4)], 4000 * share).pvalue > 0.01


def test_two_draws_are_without_replacement() -> None:
    share = np.array([0.1, 0.2, 0.3, 0.4])
    pairs = list(combinations(range(4), 2))
    wanted = [share[i] * share[j] * (1 / (1 - share[i]) + 1 / (1 - share[j])) for i, j in pairs]
    drawn = Counter(tuple(dsir.gumbel_top_k(np.log(share), 2, seed).tolist()) for seed in range(4000))
    assert set(drawn) <= set(pairs)
    assert chisquare([drawn[pair] for pair in pairs], 4000 * np.array(wanted)).pvalue > 0.01


def test_the_draw_is_its_seed_s_and_in_order() -> None:
    weights = np.random.default_rng(0).normal(size=100)
    first, again, other = (dsir.gumbel_top_k(weights, 30, seed).tolist() for seed in (3, 3, 4))
    assert first == again != other and first == sorted(set(first))


def test_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="3 documents; 4"):
        dsir.gumbel_top_k(np.zeros(3), 4, 0)
