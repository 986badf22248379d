# SPDX-License-Identifier: MIT
"""The twin of `fslcore.ops.pairwise`, for small inputs: it holds [n, m, dim] floats."""

from __future__ import annotations

from numbers import Real
from typing import Any

import tensorflow as tf

from fslcore.arguments import check_pairwise
from fslcore.tensors import real
from fslcore.twins.rows import DISTANCES

Tensor = Any


def pairwise(
    x: Tensor,
    y: Tensor | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
) -> Tensor:
    """The metric of every row of `x` with every row of `y`; arguments as for `fslcore.kernels.pairwise`.

    Returns:
        float32 [n, m]. The gradient at distance 0 is 0, and so is that of a zero row under `cosine`.
    """
    bias_given = not isinstance(bias, Real) or bias != 0
    check_pairwise(metric, weights is not None, bias_given, activation)
    x = real("x", x)
    y = x if y is None else real("y", y)
    if metric == "dot":
        return tf.matmul(x, y, transpose_b=True)
    if metric == "weighted_manhattan":
        score = tf.reduce_sum(real("weights", weights) * tf.abs(x[:, None] - y[None, :]), axis=-1)
        score += real("bias", bias)
        return tf.sigmoid(score) if activation else score
    return DISTANCES[metric](x[:, None], y[None, :])
