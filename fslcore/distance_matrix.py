# SPDX-License-Identifier: MIT
"""Triplets of a matrix of distances: mining and the triplet loss, in plain TensorFlow.

`fslcore.losses` applies them to any matrix of distances, `fslcore.twins` to the distances of embeddings. They
need no compiled library and can be differentiated more than once. They hold a few [batch, batch] matrices and
take O(batch^2 log batch) time; XLA cannot have shapes that depend on values, and reserves space for batch^2
pairs.
"""

# A module of its own because it has two users: the losses, in production, and the twins, a layer below them.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fslcore.arguments import check_mining
from fslcore.tensors import real

Tensor = Any


def mine_triplets_of_distances(
    distances: Tensor, same_class: Tensor, mining: str = "semihard"
) -> tuple[Tensor, Tensor, Tensor]:
    """The triplets of `fslcore.kernels.mine_triplets` in a matrix of distances.

    Args:
        distances: [batch, batch]; row a holds the distances from a.
        same_class: bool [batch, batch]: which samples share a class.
        mining: One of `fslcore.kernels.MININGS`.

    Returns:
        (anchor, positive, negative), int32 [triplets], by anchor and then by positive.
    """
    check_mining(mining)
    return _MINE[mining](distances, same_class)


def triplet_loss_of_distances(
    distances: Tensor,
    same_class: Tensor,
    mining: str = "semihard",
    margin: Tensor | float = 1.0,
    soft: bool = False,
) -> Tensor:
    """The triplet loss on the mined triplets of a matrix of distances.

    Args:
        distances: [batch, batch]; row a holds the distances from a.
        same_class: bool [batch, batch]: which samples share a class.
        mining: One of `fslcore.kernels.MININGS`.
        margin: Scalar, in units of the distances.
        soft: Whether log(1 + exp(D[a, p] - D[a, n])) replaces the hinge; there is no margin then.

    Returns:
        float32 scalar, differentiable with respect to `distances`.
    """
    to_positive, to_negative = distances_of_mined_triplets(distances, same_class, mining)
    return mean_softplus(to_positive, to_negative) if soft else mean_hinge(to_positive, to_negative, margin)


def distances_of_mined_triplets(
    distances: Tensor, same_class: Tensor, mining: str = "semihard"
) -> tuple[Tensor, Tensor]:
    """From the anchors of the mined triplets to their positives and to their negatives, [triplets] each."""
    distances = real("distances", distances)
    anchor, positive, negative = mine_triplets_of_distances(distances, same_class, mining)
    to_positive = tf.gather_nd(distances, tf.stack([anchor, positive], axis=1))
    return to_positive, tf.gather_nd(distances, tf.stack([anchor, negative], axis=1))


def triplet_semihard_of_distances(
    distances: Tensor, same_class: Tensor, margin: Tensor | float = 1.0
) -> Tensor:
    """`triplet_loss_of_distances` with `mining="semihard"`."""
    return triplet_loss_of_distances(distances, same_class, "semihard", margin)


def triplet_hard_of_distances(distances: Tensor, same_class: Tensor, margin: Tensor | float = 1.0) -> Tensor:
    """`triplet_loss_of_distances` with `mining="hard"`."""
    return triplet_loss_of_distances(distances, same_class, "hard", margin)


def _mine_semihard(distances: Tensor, same_class: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    distances, is_pair, is_negative = _candidates(distances, same_class)
    pair = tf.cast(tf.where(is_pair & tf.reduce_any(is_negative, axis=1, keepdims=True)), tf.int32)
    anchor, positive = pair[:, 0], pair[:, 1]

    eligible = is_negative & ~tf.math.is_nan(distances)
    farthest = _farthest(distances, is_negative)
    # Sorts each row by distance, then by index (top_k puts the lower index first). What is not eligible is
    # infinite. A negative at an infinite distance is lost among those, but then it is the farthest one.
    keys = tf.where(eligible, distances, float("inf"))
    descending, order = tf.math.top_k(-keys, tf.shape(keys)[1])
    sortable = tf.math.count_nonzero(keys < float("inf"), axis=1, dtype=tf.int32)
    threshold = tf.gather_nd(distances, pair)
    rank = _count_at_most(-descending, anchor, threshold)
    found = (rank < tf.gather(sortable, anchor)) & ~tf.math.is_nan(threshold)
    nearest = tf.gather_nd(order, tf.stack([anchor, tf.where(found, rank, 0)], axis=1))
    return anchor, positive, tf.where(found, nearest, tf.gather(farthest, anchor))


def _mine_hard(distances: Tensor, same_class: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _mine_anchors(distances, same_class, _is_farthest)


def _mine_easy_positive(distances: Tensor, same_class: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _mine_anchors(distances, same_class, _is_nearest)


def _mine_anchors(
    distances: Tensor, same_class: Tensor, is_chosen: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of every anchor the positive that `is_chosen(distances, candidates)` marks, the nearest negative."""
    distances, is_positive, is_negative = _candidates(distances, same_class)
    is_anchor = tf.reduce_any(is_positive, axis=1) & tf.reduce_any(is_negative, axis=1)
    # Not gathered by anchor: XLA turns a gather from equal elements into a broadcast, and loses its size.
    positive, negative = (
        tf.cast(tf.where(is_anchor[:, None] & chosen), tf.int32)
        for chosen in (is_chosen(distances, is_positive), _is_nearest(distances, is_negative))
    )
    return positive[:, 0], positive[:, 1], negative[:, 1]


# By the names of `fslcore.arguments.MININGS`.
_MINE = {"semihard": _mine_semihard, "hard": _mine_hard, "easy_positive": _mine_easy_positive}


def mean_hinge(to_positive: Tensor, to_negative: Tensor, margin: Tensor | float) -> Tensor:
    """The mean over triplets of max(to_positive - to_negative + margin, 0); 0 without triplets."""
    violation = to_positive - to_negative + margin
    # Not tf.nn.relu: its gradient at NaN is 0, but a NaN row must show in the gradient too.
    return _mean(tf.where(violation <= 0.0, 0.0, violation))


def mean_softplus(to_positive: Tensor, to_negative: Tensor) -> Tensor:
    """The mean over triplets of log(1 + exp(to_positive - to_negative)); 0 without triplets."""
    return _mean(tf.math.softplus(to_positive - to_negative))


def _mean(terms: Tensor) -> Tensor:
    return tf.math.divide_no_nan(tf.reduce_sum(terms), tf.cast(tf.size(terms), tf.float32))


def _candidates(distances: Tensor, same_class: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distances without a gradient, and masks of the positives and negatives, [batch, batch + 1] each."""
    # The last column is never chosen. It gives an empty batch something to sort, and `where` more than one
    # element (XLA broadcasts the result of `where` on a single element, even if it is empty).
    one_more = [[0, 0], [0, 1]]
    is_positive = same_class & ~tf.eye(tf.shape(same_class)[0], dtype=tf.bool)
    distances = tf.stop_gradient(real("distances", distances))
    return tf.pad(distances, one_more), tf.pad(is_positive, one_more), tf.pad(~same_class, one_more)


def _farthest(distances: Tensor, candidates: Tensor) -> Tensor:
    """The first candidate at the largest distance in each row; in a row of NaN, the first candidate."""
    numbers = candidates & ~tf.math.is_nan(distances)
    largest = tf.reduce_max(tf.where(numbers, distances, -float("inf")), axis=1, keepdims=True)
    found = tf.where(
        tf.reduce_any(numbers, axis=1, keepdims=True), numbers & (distances == largest), candidates
    )
    return tf.argmax(tf.cast(found, tf.int32), axis=1, output_type=tf.int32)


def _is_farthest(distances: Tensor, candidates: Tensor) -> Tensor:
    """A mask of the elements that `_farthest` returns, [batch, batch + 1]."""
    return tf.range(tf.shape(distances)[1]) == _farthest(distances, candidates)[:, None]


def _is_nearest(distances: Tensor, candidates: Tensor) -> Tensor:
    """The same for the first candidate at the least distance."""
    return _is_farthest(-distances, candidates)


def _count_at_most(ascending: Tensor, row: Tensor, threshold: Tensor) -> Tensor:
    """For each threshold, how many elements of ascending[row] do not exceed it, by bisection.

    tf.searchsorted needs equally many thresholds in each row, and holds batch^3 comparisons under XLA.
    """
    width = tf.shape(ascending)[1]

    def halve(span: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        further = count + (span + 1) // 2
        element = tf.gather_nd(ascending, tf.stack([row, tf.minimum(further, width) - 1], axis=1))
        return span // 2, tf.where((further <= width) & (element <= threshold), further, count)

    return tf.while_loop(lambda span, _: span > 0, halve, (width, tf.zeros_like(row)))[1]
