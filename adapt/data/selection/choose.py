"""Which documents of a corpus are chosen for a task's texts, the record of it, and what the choice is like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adapt.config import ConfigError
from adapt.data.selection import dsir, tfidf
from adapt.data.selection.neighbours import nearest
from adapt.data.text import normalise

KEY_NAME = "data.selection.choose"
VERSION = 1
BLOCK = 4096  # documents whose rows and similarities are in memory at once
RECORD = "chosen.parquet"

Rows = Callable[[list[str]], Any]  # texts -> [texts, H] of length 1, dense float32 or sparse


@dataclass(frozen=True)
class Chosen:
    """Documents by their numbers in the corpus [M], ascending, and why: of neighbours, the query that chose it first.

    scores [M]: a neighbour's similarity with that query, a draw's log importance weight; None for a random choice.
    """

    documents: np.ndarray
    scores: np.ndarray | None = None
    queries: np.ndarray | None = None
    mean_similarity: float | None = None  # over all pairs of a query and a neighbour of it


def eligible(corpus: Iterable[str], query: Iterable[str]) -> np.ndarray:
    """The numbers of the documents that are no copy of a query text, in normalised form: those are read already."""
    read = {normalise(text) for text in query}
    return np.array([i for i, text in enumerate(corpus) if normalise(text) not in read], dtype=np.int64)


def by_tfidf(query: Sequence[str], corpus: Sequence[str], among: np.ndarray, k: int) -> Chosen:
    """The union of each query's k nearest documents in TF-IDF; one that shares no word with it is no neighbour."""
    rows = tfidf.fitted(chain(corpus, query)).transform
    return by_neighbours(query, corpus, among, k, rows, above=0.0)


def by_neighbours(
    query: Sequence[str], corpus: Sequence[str], among: np.ndarray, k: int, rows: Rows, above: float = -np.inf
) -> Chosen:
    """The union of each query's k nearest documents by cosine (Gururangan et al., 2020, section 5.2).

    rows: the space to be near in. above: a similarity that a neighbour exceeds. Raises ConfigError for too few.
    """
    _refuse_too_many("neighbours", k, len(among))
    candidates = ((numbers, rows(texts)) for numbers, texts in blocks(corpus, among))
    similarity, found = nearest(rows(list(query)), candidates, k)
    near = similarity.ravel() > above
    if not near.any():
        raise ConfigError(
            f"selection.neighbours={k}: none of {len(among)} documents of the corpus shares a word with the task's "
            "texts; give a corpus of the task's domain and language"
        )
    asking = np.repeat(np.arange(len(query)), k)[near]
    documents, first = np.unique(found.ravel()[near], return_index=True)
    pairs = similarity.ravel()[near]
    return Chosen(documents, pairs[first], asking[first], float(pairs.mean(dtype=np.float64)))


def by_dsir(query: Sequence[str], corpus: Sequence[str], among: np.ndarray, count: int, seed: int) -> Chosen:
    """count documents drawn without replacement by how much likelier their n-grams are in the query (DSIR)."""
    _refuse_too_many("documents", count, len(among))
    target, raw = _distribution([list(query)]), _distribution(texts for _, texts in blocks(corpus, among))
    weights = np.concatenate(
        [dsir.log_weights(dsir.ngram_counts(texts), target, raw) for _, texts in blocks(corpus, among)]
    )
    drawn = dsir.gumbel_top_k(weights, count, seed)
    return Chosen(among[drawn], weights[drawn])


def at_random(among: np.ndarray, count: int, seed: int) -> Chosen:
    """count distinct documents, uniformly."""
    _refuse_too_many("documents", count, len(among))
    return Chosen(np.sort(np.random.default_rng(seed).choice(among, count, replace=False)))


def measures(query: Sequence[str], corpus: Sequence[str], among: np.ndarray, chosen: Chosen) -> dict[str, float]:
    """What a choice is like: its size, how near it is to the query, and how much nearer than the corpus.

    kl_reduction: of hashed n-grams, in nats (Xie et al., 2023), against the documents that could be chosen.
    query_vocabulary_covered: share of the query's distinct words that the chosen documents hold.
    """
    wanted = {word for text in query for word in normalise(text).split()}
    words, covered = 0, set()
    for _, texts in blocks(corpus, chosen.documents):
        words += sum(len(text.split()) for text in texts)
        covered |= wanted & {word for text in texts for word in normalise(text).split()}
    target = _distribution([list(query)])
    raw, selected = (_distribution(texts for _, texts in blocks(corpus, of)) for of in (among, chosen.documents))
    near = {} if chosen.mean_similarity is None else {"mean_similarity": chosen.mean_similarity}
    return {
        **{"documents": len(chosen.documents), "words": words, **near},
        "kl_reduction": dsir.kl_reduction(target, raw, selected),
        "query_vocabulary_covered": len(covered) / max(len(wanted), 1),
    }


def texts_of(corpus: Sequence[str], chosen: Chosen) -> list[str]:
    """The chosen texts in the order of the corpus."""
    return [text for _, texts in blocks(corpus, chosen.documents) for text in texts]


def write_record(chosen: Chosen, texts: list[str], folder: Path) -> None:
    """Write ``chosen.parquet``: document (its number in the corpus), text, score, query (its number; both may be null).

    Scores are rounded to 5 digits, so that faiss and numpy leave the same bytes.
    """
    absent = [None] * len(texts)
    columns = {
        "document": pa.array(chosen.documents, pa.int64()),
        "text": pa.array(texts, pa.large_string()),
        "score": pa.array(absent if chosen.scores is None else np.round(chosen.scores, 5), pa.float64()),
        "query": pa.array(absent if chosen.queries is None else chosen.queries, pa.int64()),
    }
    pq.write_table(pa.table(columns), folder / RECORD)


def recorded_documents(folder: Path) -> int:
    """How many documents the record in a folder lists."""
    return int(pq.read_metadata(folder / RECORD).num_rows)


def blocks(corpus: Iterable[str], numbers: np.ndarray) -> Iterator[tuple[np.ndarray, list[str]]]:
    """The documents of these ascending numbers, some at a time, in one reading of the corpus."""
    wanted, texts, start = iter(numbers.tolist()), [], 0
    following = next(wanted, None)
    for number, text in enumerate(corpus):
        if following is None:
            break
        if number == following:
            texts.append(text)
            following = next(wanted, None)
            if len(texts) == BLOCK:
                yield numbers[start : start + BLOCK], texts
                texts, start = [], start + BLOCK
    if texts:
        yield numbers[start:], texts


def _distribution(parts: Iterable[list[str]]) -> np.ndarray:
    counts = np.zeros(dsir.BUCKETS)
    for texts in parts:
        counts += np.asarray(dsir.ngram_counts(texts).sum(axis=0)).ravel()
    return dsir.distribution(counts)


def _refuse_too_many(what: str, asked: int, there: int) -> None:
    if asked > there:
        raise ConfigError(
            f"selection.{what}={asked}: the corpus has {there} documents that are no copy of a task text; "
            f"give at most {there}, or more text"
        )
