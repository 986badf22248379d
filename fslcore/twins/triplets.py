# SPDX-License-Identifier: MIT
"""The twins of mining and of the triplet loss; they hold the distances, [batch, batch]."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import TRIPLET_METRICS, check_metric
from fslcore.distance_matrix import mean_hinge, mine_hard_of_distances, mine_semihard_of_distances
from fslcore.twins.rows import DISTANCES, unit_rows

Tensor = Any


def mine_semihard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """The triplets of `fslcore.kernels.mine_semihard`; NaN distances are chosen only if there is no other.

    Distances come from |x|^2 + |y|^2 - 2 <x, y>, so negatives whose distances agree to within
    4 eps (|x|^2 + |y|^2) may be swapped; with small integers in `x` the result is exact.
    """
    return mine_semihard_of_distances(*_distances_and_classes(x, labels, metric))


def mine_hard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """The triplets of `fslcore.kernels.mine_hard`, from the distances of `mine_semihard`."""
    return mine_hard_of_distances(*_distances_and_classes(x, labels, metric))


def triplet_semihard(
    x: Tensor, labels: Tensor, margin: Tensor | float = 1.0, metric: str = "sqeuclidean"
) -> Tensor:
    """The loss of `fslcore.kernels.triplet_semihard`, a float32 scalar.

    The mined pairs are evaluated again as sums of (x - y)^2, so that near rows keep their digits.
    """
    return _mean_of_triplets(x, mine_semihard(x, labels, metric), margin, metric)


def triplet_hard(
    x: Tensor, labels: Tensor, margin: Tensor | float = 1.0, metric: str = "sqeuclidean"
) -> Tensor:
    """The loss of `fslcore.kernels.triplet_hard`, a float32 scalar, evaluated as in `triplet_semihard`."""
    return _mean_of_triplets(x, mine_hard(x, labels, metric), margin, metric)


def _mean_of_triplets(x: Tensor, mined: tuple[Tensor, ...], margin: Tensor | float, metric: str) -> Tensor:
    x = tf.cast(x, tf.float32)
    # Gathered along axis 1 of [1, batch, dim]: along axis 0 the gradient would be IndexedSlices.
    anchor, positive, negative = (tf.gather(x[None], index, axis=1)[0] for index in mined)
    distance = DISTANCES[metric]
    return mean_hinge(distance(anchor, positive), distance(anchor, negative), margin)


def _distances_and_classes(x: Tensor, labels: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    check_metric(metric, TRIPLET_METRICS)
    labels = tf.convert_to_tensor(labels)
    return _selection_distances(x, metric), labels[:, None] == labels[None, :]


def _selection_distances(x: Tensor, metric: str) -> Tensor:
    x = tf.cast(x, tf.float32)
    if metric == "cosine":
        unit, is_zero = unit_rows(x)
        products = tf.matmul(unit, unit, transpose_b=True)
        return tf.where(is_zero[:, None] | is_zero[None, :], 1.0, 1.0 - products)
    squares = tf.reduce_sum(tf.square(x), axis=1)
    squared = squares[:, None] + squares[None, :] - 2.0 * tf.matmul(x, x, transpose_b=True)
    # Not tf.maximum, which may turn NaN into 0.
    return squared if metric == "sqeuclidean" else tf.sqrt(tf.where(squared < 0.0, 0.0, squared))
