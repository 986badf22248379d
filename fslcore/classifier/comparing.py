# SPDX-License-Identifier: MIT
"""How near each support image is to each query: the product of a few queries with all rows, made exact.

Many queries are compared by the compiled core. For a few, the time is that of reading the rows once, which a
matrix product with their norms does; rows that are near a query, where that would lose digits, are compared
again by the core.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fslcore import kernels
from fslcore.arguments import METRICS
from fslcore.classifier.state import FloatArray, State

# Unlike the others a similarity; the weighted one belongs to a learner's kernel.
DISTANCES = tuple(name for name in METRICS if name not in ("dot", "weighted_manhattan"))
PLAIN_METRICS = (*DISTANCES, "dot")

_FEW = 8  # queries; from here on the core is faster
# Squared distances below this part of the squared norms are computed anew: others have lost at most 6 bits.
_NEAR = 1 / 64
_MOST_NEAR = 1 / 8  # of all rows; if more are near, the core compares all of them


def alike(queries: FloatArray, rows: FloatArray, metric: str) -> FloatArray:
    """How near every query is to every row.

    Args:
        queries: float32 [n, D].
        rows: float32 [m, D].
        metric: One of `PLAIN_METRICS`.

    Returns:
        float32 [n, m], larger is nearer: minus the distance, or the dot product.
    """
    # The core divides the rows of its first argument among the threads.
    if len(queries) < len(rows):
        values = kernels.pairwise(rows, queries, metric).T
    else:
        values = kernels.pairwise(queries, rows, metric)
    return values if metric == "dot" else np.negative(values, out=values)


def alike_supports(queries: FloatArray, state: State, metric: str) -> FloatArray:
    """`alike` for the support images of a state."""
    rows = state.rows
    if len(queries) > _FEW or metric not in ("sqeuclidean", "euclidean", "cosine", "dot"):
        return alike(queries, rows, metric)
    if metric == "dot":
        return queries @ rows.T
    values = np.empty((len(queries), len(rows)), np.float32)
    for query, out in zip(queries, values, strict=True):
        _negated_distances(query, rows, state.norms, metric, out)
    return values


def _negated_distances(
    query: FloatArray, rows: FloatArray, norms: FloatArray, metric: str, out: FloatArray
) -> None:
    """Minus the distances [m] of one query [D] to rows [m, D] of known squared norms [m]."""
    np.matmul(rows, query, out=out)
    norm = np.float32(query @ query)
    if metric == "cosine":
        lengths = np.sqrt(norms * norm)
        np.divide(out, lengths, out=out, where=lengths > 0)  # of a zero row the product is 0 already
        out -= 1
        near: Any = out > -_NEAR
    else:
        np.multiply(out, 2, out=out)
        whole = norms + norm
        out -= whole
        whole *= -_NEAR
        near = out > whole
    number = np.count_nonzero(near)
    if number > _MOST_NEAR * len(rows):
        near = slice(None)
    if metric == "euclidean":
        np.sqrt(np.maximum(np.negative(out, out=out), 0, out=out), out=out)
        np.negative(out, out=out)
    if number:
        out[near] = alike(query[np.newaxis], rows[near], metric)[0]
