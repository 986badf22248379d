# SPDX-License-Identifier: MIT
"""`nearest` and its gradient."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import check_nearest
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import matrix
from fslcore.results import NearestResult
from fslcore.twins import values_of_nearest

Tensor = Any


def nearest(queries: Tensor, rows: Tensor, k: int, metric: str = "sqeuclidean") -> NearestResult:
    """The `k` rows that are nearest to each query; see `fslcore.kernels.nearest`.

    Args:
        queries: [n, dim].
        rows: [m, dim].
        k: From 1 to m, a Python number. On a GPU inside XLA, where `rows` may have a dynamic size below `k`,
            NaN and -1 stand for what is not there.
        metric: One of `fslcore.kernels.SEARCH_METRICS`.

    Returns:
        A `NearestResult`: `values` float32 [n, k], differentiable any number of times, and `indices` int32
        [n, k].
    """
    k = check_nearest(k, metric)
    queries, rows = matrix("queries", queries), matrix("rows", rows)
    known = queries.shape.is_fully_defined() and rows.shape.is_fully_defined()
    if known and queries.shape[1] != rows.shape[1]:
        raise ValueError(
            "queries and rows must have the same number of columns, received "
            f"queries: {queries.shape.as_list()}, rows: {rows.shape.as_list()}"
        )
    return NearestResult(*raw_ops.fslcore_nearest(queries=queries, rows=rows, k=k, metric=metric))


@tf.RegisterGradient("FslcoreNearest")
def _nearest_gradient(op: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    queries, rows = op.inputs
    metric = op.get_attr("metric").decode()
    with tf.GradientTape() as tape:
        tape.watch([queries, rows])
        values = values_of_nearest(queries, rows, op.outputs[1], metric)
    of_queries, of_rows = tape.gradient(values, (queries, rows), output_gradients=grad)
    return of_queries, of_rows
