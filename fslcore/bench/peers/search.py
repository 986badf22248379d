# SPDX-License-Identifier: MIT
"""The nearest rows in NumPy, TensorFlow, Faiss and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.bench.comparison import Entry
from fslcore.bench.peers.libraries import installed
from fslcore.bench.search_problem import Search

# Not a search: the least that one by products can take.
PRODUCT = "NumPy product alone"


def peer_entries(search: Search) -> dict[str, Entry]:
    """Those that are installed. What libraries make of the rows beforehand is not timed."""
    matrix = 4 * search.count * search.among
    entries = {
        PRODUCT: Entry(lambda: [search.queries @ search.rows.T], matrix),
        "NumPy argpartition": Entry(lambda: _numpy(search), 5 * matrix),
        "TensorFlow top_k": Entry(_tensorflow(search), 3 * matrix),
    }
    if installed("faiss"):
        entries["Faiss IndexFlat"] = Entry(_faiss(search))
    if installed("sklearn"):
        entries["scikit-learn brute"] = Entry(_sklearn(search))
    return entries


def _numpy(search: Search) -> list[Any]:
    queries, rows = search.queries, search.rows
    squared = (rows * rows).sum(axis=1) - 2 * (queries @ rows.T) + (queries * queries).sum(axis=1)[:, None]
    nearest = np.argpartition(squared, search.k, axis=1)[:, : search.k]
    values = np.take_along_axis(squared, nearest, axis=1)
    order = np.argsort(values, axis=1)
    return [np.take_along_axis(part, order, axis=1) for part in (values, nearest)]


def _tensorflow(search: Search) -> Any:
    queries, rows = tf.constant(search.queries), tf.constant(search.rows)

    @tf.function
    def nearest(queries: Any, rows: Any) -> Any:
        product = tf.matmul(queries, rows, transpose_b=True)
        squared = tf.reduce_sum(rows**2, 1) - 2 * product + tf.reduce_sum(queries**2, 1, keepdims=True)
        negative, indices = tf.math.top_k(-squared, search.k)
        return -negative, indices

    return lambda: [tensor.numpy() for tensor in nearest(queries, rows)]


def _faiss(search: Search) -> Any:
    import faiss

    index = faiss.IndexFlatL2(search.dim)
    index.add(search.rows)
    return lambda: list(index.search(search.queries, search.k))


def _sklearn(search: Search) -> Any:
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=search.k, algorithm="brute", metric="sqeuclidean").fit(search.rows)
    return lambda: list(index.kneighbors(search.queries))
