# SPDX-License-Identifier: MIT
"""The nearest rows."""

from __future__ import annotations

import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import as_matrix, check_nearest
from fslcore.results import NearestResult


def nearest(
    queries: npt.ArrayLike, rows: npt.ArrayLike, k: int, metric: str = "sqeuclidean"
) -> NearestResult:
    """The `k` rows that are nearest to each query, nearest first.

    Of equal values the lowest index comes first, and NaN comes after all numbers. A query has the same bits
    alone or among others. Values are evaluated coordinate by coordinate, so that equal rows are at distance
    exactly 0.

    No queries x rows matrix is formed, and `rows` are neither copied nor prepared if they are float32 and
    C-contiguous: memory is O(queries * (dim + k)). The time is that of a matrix product of the same size, and
    for few queries that of reading the rows once.

    Args:
        queries: [n, dim].
        rows: [m, dim].
        k: From 1 to m.
        metric: One of `SEARCH_METRICS`, as in `pairwise`. `dot` is a similarity: the greatest are nearest.

    Returns:
        A `NearestResult`: `values` float32 [n, k], and `indices` of rows, int32 [n, k].

    Raises:
        ValueError: For an unknown metric, a `k` out of range, or shapes that do not match.
    """
    k = check_nearest(k, metric)
    return NearestResult(
        *_core.nearest(as_matrix("queries", queries), as_matrix("rows", rows), k=k, metric=metric)
    )
