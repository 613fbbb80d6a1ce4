"""Neighbours found in blocks are the same as from the whole matrix of similarities, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from adapt.data.selection import neighbours


def by_force(queries: np.ndarray, documents: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    product = queries @ documents.T
    order = np.array([sorted(range(len(row)), key=lambda i, row=row: (-row[i], i))[:k] for row in product])
    return np.take_along_axis(product, order, axis=1), order


def cut(rows, size: int):
    count = rows.shape[0]
    return ((np.arange(s, min(s + size, count)), rows[s : s + size]) for s in range(0, count, size))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 13), documents=st.integers(1, 30), k=st.integers(1, 30))
def test_blocks_and_sparseness_change_nothing_ties_included(seed: int, size: int, documents: int, k: int) -> None:
    k = min(k, documents)
    random = np.random.default_rng(seed)
    queries, rows = (random.integers(-1, 2, (n, 4)).astype(np.float32) for n in (7, documents))  # many ties
    wanted = by_force(queries, rows, k)
    for convert in (np.asarray, csr_matrix):
        nearest = neighbours.nearest(convert(queries), cut(convert(rows), size), k, faiss=False)
        np.testing.assert_array_equal(nearest[0], wanted[0])
        np.testing.assert_array_equal(nearest[1], wanted[1])


def test_more_queries_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    queries, rows = random.normal(size=(23, 5)).astype(np.float32), random.normal(size=(40, 5)).astype(np.float32)
    wanted = neighbours.nearest(queries, cut(rows, 40), 6, faiss=False)
    monkeypatch.setattr(neighbours, "QUERIES", 5)
    nearest = neighbours.nearest(queries, cut(rows, 9), 6, faiss=False)
    np.testing.assert_array_equal(nearest[1], wanted[1])


def test_documents_are_called_by_their_numbers() -> None:
    rows = np.eye(3, dtype=np.float32)
    blocks = [(np.array([4, 9]), rows[:2]), (np.array([17]), rows[2:])]
    assert neighbours.nearest(rows[[2, 0]], blocks, 1, faiss=False)[1].tolist() == [[17], [4]]


def test_fewer_documents_than_neighbours() -> None:
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="3 documents; 4 neighbours"):
        neighbours.nearest(rows, cut(rows, 2), 4, faiss=False)


def test_faiss_finds_the_same() -> None:
    pytest.importorskip("faiss", reason="faiss-cpu is an optional extra")
    random = np.random.default_rng(1)
    queries, rows = random.normal(size=(50, 16)).astype(np.float32), random.normal(size=(700, 16)).astype(np.float32)
    ours = neighbours.nearest(queries, cut(rows, 300), 20, faiss=False)
    theirs = neighbours.nearest(queries, cut(rows, 300), 20, faiss=True)
    np.testing.assert_array_equal(theirs[1], ours[1])
    np.testing.assert_allclose(theirs[0], ours[0], rtol=1e-5, atol=1e-5)
