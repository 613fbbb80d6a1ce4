"""Chooses documents of a corpus for a task's texts (the query), records the selection and measures it."""

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
from adapt.data import characters
from adapt.data.selection import dsir, tfidf
from adapt.data.selection.neighbours import nearest
from adapt.data.text import normalise

KEY_NAME = "data.selection.choose"
VERSION = 2
BLOCK = 4096  # documents whose feature rows and similarities are in memory at once
RECORD = "chosen.parquet"

Rows = Callable[[list[str]], Any]  # texts -> feature rows [texts, H] of length 1, dense float32 or sparse


@dataclass(frozen=True)
class Selection:
    """The chosen documents: their numbers in the corpus [M], ascending, and why they were chosen.

    scores [M]: the similarity of a neighbour with its query, or the log importance weight of a drawn document; None for
    a random choice. queries [M]: for neighbours, the number of the first query that chose the document; else None.
    """

    documents: np.ndarray
    scores: np.ndarray | None = None
    queries: np.ndarray | None = None
    mean_similarity: float | None = None  # over all pairs of a query and its neighbour


def eligible(corpus: Iterable[str], query: Iterable[str]) -> np.ndarray:
    """The numbers of the documents that are not a copy of a query text (in normalised form), which is trained on."""
    known = {normalise(text) for text in query}
    return np.array([i for i, text in enumerate(corpus) if normalise(text) not in known], dtype=np.int64)


def by_tfidf(query: Sequence[str], corpus: Sequence[str], among: np.ndarray, k: int) -> Selection:
    """The union of each query's k nearest documents by TF-IDF, except documents that share no word with the query."""
    rows = tfidf.fitted(chain(corpus, query)).transform
    return by_neighbours(query, corpus, among, k, rows, above=0.0)


def by_neighbours(
    query: Sequence[str], corpus: Sequence[str], among: np.ndarray, k: int, rows: Rows, above: float = -np.inf
) -> Selection:
    """The union of each query's k nearest documents by cosine (Gururangan et al., 2020, section 5.2).

    rows: the features that are compared. above: a neighbour's similarity must exceed it. Raises ConfigError for fewer
    than k documents.
    """
    _refuse_too_many("neighbours", k, len(among))
    candidates = ((numbers, rows(texts)) for numbers, texts in blocks(corpus, among))
    similarity, neighbours = nearest(rows(list(query)), candidates, k)
    near = similarity.ravel() > above
    if not near.any():
        raise ConfigError(
            f"selection.neighbours={k}: none of {len(among)} documents of the corpus shares a word with the task's "
            "texts; give a corpus of the task's domain and language"
        )
    asking = np.repeat(np.arange(len(query)), k)[near]
    documents, first = np.unique(neighbours.ravel()[near], return_index=True)
    pairs = similarity.ravel()[near]
    return Selection(documents, pairs[first], asking[first], float(pairs.mean(dtype=np.float64)))


def by_dsir(query: Sequence[str], corpus: Sequence[str], among: np.ndarray, count: int, seed: int) -> Selection:
    """``count`` documents drawn without replacement, weighted by how much likelier their n-grams are in the query."""
    _refuse_too_many("documents", count, len(among))
    target, raw = _distribution([list(query)]), _distribution(texts for _, texts in blocks(corpus, among))
    weights = np.concatenate(
        [dsir.log_weights(dsir.ngram_counts(texts), target, raw) for _, texts in blocks(corpus, among)]
    )
    drawn = dsir.gumbel_top_k(weights, count, seed)
    return Selection(among[drawn], weights[drawn])


def at_random(among: np.ndarray, count: int, seed: int) -> Selection:
    """``count`` distinct documents, uniformly at random."""
    _refuse_too_many("documents", count, len(among))
    return Selection(np.sort(np.random.default_rng(seed).choice(among, count, replace=False)))


def measures(query: Sequence[str], corpus: Sequence[str], among: np.ndarray, selection: Selection) -> dict[str, float]:
    """Measure a selection: its size, how near it is to the query, and how much nearer than the corpus.

    kl_reduction: of hashed n-grams, in nats (Xie et al., 2023), compared with all eligible documents (``among``).
    query_vocabulary_covered: the share of the query's distinct words that occur in the chosen documents.
    """
    wanted = {word for text in query for word in characters.words(normalise(text))}
    words, covered = 0, set()
    for _, texts in blocks(corpus, selection.documents):
        words += sum(characters.length(text) for text in texts)
        covered |= wanted & {word for text in texts for word in characters.words(normalise(text))}
    target = _distribution([list(query)])
    raw, selected = (
        _distribution(texts for _, texts in blocks(corpus, numbers)) for numbers in (among, selection.documents)
    )
    near = {} if selection.mean_similarity is None else {"mean_similarity": selection.mean_similarity}
    return {
        **{"documents": len(selection.documents), "words": words, **near},
        "kl_reduction": dsir.kl_reduction(target, raw, selected),
        "query_vocabulary_covered": len(covered) / max(len(wanted), 1),
    }


def selected_texts(corpus: Sequence[str], selection: Selection) -> list[str]:
    """The texts of the chosen documents, in the order of the corpus."""
    return [text for _, texts in blocks(corpus, selection.documents) for text in texts]


def write_record(selection: Selection, texts: list[str], folder: Path) -> None:
    """Write ``chosen.parquet``: document (number in the corpus), text, score and query (number); the last two nullable.

    Scores are rounded to 5 digits, so that faiss and numpy give the same bytes.
    """
    absent = [None] * len(texts)
    columns = {
        "document": pa.array(selection.documents, pa.int64()),
        "text": pa.array(texts, pa.large_string()),
        "score": pa.array(absent if selection.scores is None else np.round(selection.scores, 5), pa.float64()),
        "query": pa.array(absent if selection.queries is None else selection.queries, pa.int64()),
    }
    pq.write_table(pa.table(columns), folder / RECORD)


def recorded_documents(folder: Path) -> int:
    """How many documents ``chosen.parquet`` in this folder lists."""
    return int(pq.read_metadata(folder / RECORD).num_rows)


def blocks(corpus: Iterable[str], numbers: np.ndarray) -> Iterator[tuple[np.ndarray, list[str]]]:
    """The documents with these ascending numbers, BLOCK at a time, in one pass over the corpus: numbers and texts."""
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
            f"selection.{what}={asked}: the corpus has {there} documents that are not a copy of a task text; "
            f"give at most {there}, or more text"
        )
