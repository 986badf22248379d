# SPDX-License-Identifier: MIT
"""The nearest rows by plain loops in float64."""

from __future__ import annotations

import numpy as np
import oracles
from numpy.typing import ArrayLike, NDArray


def nearest(
    queries: ArrayLike,  # [n, d]
    rows: ArrayLike,  # [m, d]
    k: int,
    metric: str = "sqeuclidean",
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:  # values and indices [n, k]
    """Each query's rows in the order of (is NaN, value, index); greater products come first."""
    matrix = oracles.pairwise(queries, rows, metric)
    indices = np.empty((len(matrix), k), np.int32)
    for i, values in enumerate(matrix):

        def place(j: int, values: NDArray[np.float64] = values) -> tuple[bool, float, int]:
            missing = bool(np.isnan(values[j]))
            value = 0.0 if missing else float(values[j])
            return missing, -value if metric == "dot" else value, j

        indices[i] = sorted(range(len(values)), key=place)[:k]
    return np.take_along_axis(matrix, indices.astype(np.int64), axis=1), indices
