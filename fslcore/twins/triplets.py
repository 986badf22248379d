# SPDX-License-Identifier: MIT
"""The twins of mining and of the triplet loss; they hold the distances, [batch, batch]."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import check_triplets
from fslcore.distance_matrix import mean_hinge, mean_softplus, mine_triplets_of_distances
from fslcore.tensors import real
from fslcore.twins.rows import DISTANCES, unit_rows

Tensor = Any


def mine_triplets(
    x: Tensor, labels: Tensor, mining: str = "semihard", metric: str = "sqeuclidean"
) -> tuple[Tensor, Tensor, Tensor]:
    """The triplets of `fslcore.kernels.mine_triplets`; NaN distances are chosen only if there is no other.

    Distances come from |x|^2 + |y|^2 - 2 <x, y>, so negatives whose distances agree to within
    4 eps (|x|^2 + |y|^2) may be swapped; with small integers in `x` the result is exact.
    """
    check_triplets(mining, metric)
    labels = tf.convert_to_tensor(labels)
    same_class = labels[:, None] == labels[None, :]
    return mine_triplets_of_distances(_selection_distances(x, metric), same_class, mining)


def triplet_loss(
    x: Tensor,
    labels: Tensor,
    mining: str = "semihard",
    margin: Tensor | float = 1.0,
    metric: str = "sqeuclidean",
    soft: bool = False,
) -> Tensor:
    """The loss of `fslcore.kernels.triplet_loss`, a float32 scalar, or its soft form.

    The mined triplets are evaluated again as sums of (x - y)^2, so that near rows keep their digits. With
    `soft`, log(1 + exp(D[a, p] - D[a, n])) replaces the hinge, and there is no margin.
    """
    return loss_of_triplets(x, mine_triplets(x, labels, mining, metric), margin, metric, soft)


def loss_of_triplets(
    x: Tensor, mined: tuple[Tensor, ...], margin: Tensor | float, metric: str, soft: bool = False
) -> Tensor:
    """`triplet_loss` of given triplets, (anchor, positive, negative)."""
    to_positive, to_negative = distances_of_triplets(x, mined, metric)
    return mean_softplus(to_positive, to_negative) if soft else mean_hinge(to_positive, to_negative, margin)


def distances_of_triplets(x: Tensor, mined: tuple[Tensor, ...], metric: str) -> tuple[Tensor, Tensor]:
    """From the anchors of given triplets to their positives and to their negatives, [triplets] each."""
    x = real("x", x)
    # Gathered along axis 1 of [1, batch, dim]: along axis 0 the gradient would be IndexedSlices.
    anchor, positive, negative = (tf.gather(x[None], index, axis=1)[0] for index in mined)
    return DISTANCES[metric](anchor, positive), DISTANCES[metric](anchor, negative)


def mine_semihard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """`mine_triplets` with `mining="semihard"`."""
    return mine_triplets(x, labels, "semihard", metric)


def mine_hard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """`mine_triplets` with `mining="hard"`."""
    return mine_triplets(x, labels, "hard", metric)


def triplet_semihard(
    x: Tensor, labels: Tensor, margin: Tensor | float = 1.0, metric: str = "sqeuclidean"
) -> Tensor:
    """`triplet_loss` with `mining="semihard"`."""
    return triplet_loss(x, labels, "semihard", margin, metric)


def triplet_hard(
    x: Tensor,
    labels: Tensor,
    margin: Tensor | float = 1.0,
    metric: str = "sqeuclidean",
    soft: bool = False,
) -> Tensor:
    """`triplet_loss` with `mining="hard"`."""
    return triplet_loss(x, labels, "hard", margin, metric, soft)


def _selection_distances(x: Tensor, metric: str) -> Tensor:
    x = real("x", x)
    if metric == "cosine":
        unit, is_zero = unit_rows(x)
        products = tf.matmul(unit, unit, transpose_b=True)
        return tf.where(is_zero[:, None] | is_zero[None, :], 1.0, 1.0 - products)
    squares = tf.reduce_sum(tf.square(x), axis=1)
    squared = squares[:, None] + squares[None, :] - 2.0 * tf.matmul(x, x, transpose_b=True)
    # Not tf.maximum, which may turn NaN into 0.
    return squared if metric == "sqeuclidean" else tf.sqrt(tf.where(squared < 0.0, 0.0, squared))
