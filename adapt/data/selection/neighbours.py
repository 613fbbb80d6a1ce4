"""Exact nearest documents of each query; only one block of documents is in memory at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy.sparse import issparse

KEY_NAME = "data.selection.neighbours"
VERSION = 1
QUERIES = 512  # rows of a block of similarities: [512, documents of a block] float32
HAS_FAISS = importlib.util.find_spec("faiss") is not None  # optional; the same neighbours up to rounding


def nearest(
    queries: Any, blocks: Iterable[tuple[np.ndarray, Any]], k: int, *, faiss: bool = HAS_FAISS
) -> tuple[np.ndarray, np.ndarray]:
    """The k documents with the largest inner product with each query: the cosine, if all rows have length 1.

    queries: [Q, H], dense float32 or scipy sparse rows. blocks: the documents' numbers [B], ascending over all blocks,
    and their rows [B, H] of the same kind. Ties go to the lowest number. faiss: whether to search dense rows with it.
    Returns the inner products and the documents' numbers [Q, k], nearest first. Raises ValueError if there are fewer
    than k documents.
    """
    best = np.empty((queries.shape[0], 0), np.float32), np.empty((queries.shape[0], 0), np.int64)
    for numbers, rows in blocks:
        parts = []
        for start in range(0, queries.shape[0], QUERIES):
            some = queries[start : start + QUERIES]
            products, columns = _of_block(some, rows, min(k, len(numbers)), faiss)
            so_far = (best[0][start : start + QUERIES], best[1][start : start + QUERIES])
            parts.append(_merged(so_far, (products, np.asarray(numbers)[columns]), k))
        best = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    if best[0].shape[1] < k:
        raise ValueError(f"{best[0].shape[1]} documents; {k} neighbours are asked for")
    return best


def _of_block(queries: Any, rows: Any, k: int, faiss: bool) -> tuple[np.ndarray, np.ndarray]:
    """The k largest inner products of each query with the rows of one block, and the indices of those rows: [Q, k]."""
    if faiss and not issparse(rows):
        from faiss import METRIC_INNER_PRODUCT, knn

        products, columns = knn(queries, rows, k, metric=METRIC_INNER_PRODUCT)
        return _by_size(products, columns, k)
    product = queries @ rows.T
    return largest(product.toarray() if issparse(product) else product, k)


def largest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest values of each row [N, M], descending, and their columns; ties go to the first column."""
    if k == values.shape[1]:
        columns = np.broadcast_to(np.arange(k), values.shape)
        return _by_size(values, columns, k)
    smallest = np.partition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k]
    columns = np.empty((len(values), k), np.int64)
    for number, (row, least) in enumerate(zip(values, smallest, strict=True)):
        above, equal = np.flatnonzero(row > least), np.flatnonzero(row == least)
        columns[number] = np.sort(np.concatenate([above, equal[: k - len(above)]]))
    return _by_size(np.take_along_axis(values, columns, axis=1), columns, k)


def _merged(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    return _by_size(np.concatenate([one[0], other[0]], axis=1), np.concatenate([one[1], other[1]], axis=1), k)


def _by_size(values: np.ndarray, numbers: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k by descending value, then by ascending number."""
    order = np.lexsort((numbers, -values), axis=1)[:, :k]
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(numbers, order, axis=1)
