# SPDX-License-Identifier: MIT
"""Distances between rows, with gradient 0 where rows coincide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any


def root(squared: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0."""
    # The inner `where` keeps the infinite slope of the root at 0 out of the gradient.
    is_zero = squared == 0.0
    return tf.where(is_zero, 0.0, tf.sqrt(tf.where(is_zero, 1.0, squared)))


def unit_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows divided by their lengths, and which of them are zero."""
    # The result does not depend on the scale, which keeps squares of tiny and huge rows in range.
    is_zero = tf.reduce_all(x == 0.0, axis=-1, keepdims=True)
    scale = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis=-1, keepdims=True))
    x /= tf.where(is_zero, 1.0, scale)
    squared = tf.where(is_zero, 1.0, tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))
    return x / tf.sqrt(squared), is_zero[..., 0]


def sqeuclidean(x: Tensor, y: Tensor) -> Tensor:
    """The squared Euclidean distance."""
    return tf.reduce_sum(tf.square(x - y), axis=-1)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """1 minus the cosine of the angle; 1 where a row is zero."""
    # For unit rows 1 - <x, y> = |x - y|^2 / 2, which is exactly 0 for equal rows.
    (x, x_is_zero), (y, y_is_zero) = unit_rows(x), unit_rows(y)
    return tf.where(x_is_zero | y_is_zero, 1.0, 0.5 * sqeuclidean(x, y))


def chebyshev(x: Tensor, y: Tensor) -> Tensor:
    """The largest difference of a coordinate; its gradient goes to the first that attains it."""
    difference = tf.abs(x - y)
    largest = tf.reduce_max(difference, axis=-1, keepdims=True)
    attained = tf.cast(difference == largest, tf.int32)
    first = (attained == 1) & (tf.cumsum(attained, axis=-1) == 1)
    has_nan = tf.reduce_any(tf.math.is_nan(difference), axis=-1, keepdims=True)
    return tf.reduce_sum(tf.where(first | has_nan, difference, 0.0), axis=-1)


# By metric, of rows in the last axis.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sqeuclidean": sqeuclidean,
    "euclidean": lambda x, y: root(sqeuclidean(x, y)),
    "cosine": cosine,
    "manhattan": lambda x, y: tf.reduce_sum(tf.abs(x - y), axis=-1),
    "chebyshev": chebyshev,
}


def metric_of_rows(x: Tensor, y: Tensor, metric: str, weights: Tensor | None = None) -> Tensor:
    """The metric of rows of the same place, `dot` and `weighted_manhattan` included."""
    if metric == "dot":
        return tf.reduce_sum(x * y, axis=-1)
    if metric == "weighted_manhattan":
        return tf.reduce_sum(weights * tf.abs(x - y), axis=-1)
    return DISTANCES[metric](x, y)
