# SPDX-License-Identifier: MIT
"""The twin of `fslcore.ops.nearest`, for small inputs: it holds [n, m, dim] floats."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import check_nearest
from fslcore.results import NearestResult
from fslcore.tensors import real
from fslcore.twins.pairwise import pairwise
from fslcore.twins.rows import DISTANCES

Tensor = Any


def nearest(queries: Tensor, rows: Tensor, k: int, metric: str = "sqeuclidean") -> NearestResult:
    """The `k` rows that are nearest to each query; arguments as for `fslcore.kernels.nearest`.

    Returns:
        A `NearestResult`: `values` float32 [n, k] and `indices` int32 [n, k].
    """
    k = check_nearest(k, metric)
    queries, rows = real("queries", queries), real("rows", rows)
    values = pairwise(queries, rows, metric)
    tf.debugging.assert_less_equal(
        k, tf.shape(rows)[0], message=f"k must be at most the number of rows, received {k}"
    )
    missing = tf.math.is_nan(values)
    far = -values if metric == "dot" else values
    order = tf.argsort(tf.where(missing, float("inf"), far), axis=1, stable=True)
    # A NaN comes after infinity, which it was replaced by.
    behind = tf.cast(tf.gather(missing, order, batch_dims=1), tf.int32)
    order = tf.gather(order, tf.argsort(behind, axis=1, stable=True)[:, :k], batch_dims=1)
    return NearestResult(tf.gather(values, order, batch_dims=1), order)


def values_of_nearest(queries: Tensor, rows: Tensor, indices: Tensor, metric: str) -> Tensor:
    """The metric of each query with its own rows, differentiable.

    Args:
        queries: [n, dim].
        rows: [m, dim].
        indices: Integers [n, k], of rows.
        metric: One of `fslcore.kernels.SEARCH_METRICS`.

    Returns:
        float32 [n, k].
    """
    x, y = real("queries", queries)[:, None], tf.gather(real("rows", rows), indices)
    return tf.reduce_sum(x * y, axis=-1) if metric == "dot" else DISTANCES[metric](x, y)
