# SPDX-License-Identifier: MIT
"""The triplets of a matrix of distances in plain TensorFlow: what `fslcore.twins` mines with."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any


def mine_semihard_of_distances(distances: Tensor, same_class: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.mine_semihard` on a matrix of distances that the caller has computed.

    Args:
        distances: float32 [batch, batch]; row a holds the distances from a.
        same_class: bool [batch, batch]: which samples share a class.

    Returns:
        (anchor, positive, negative), int32 [pairs], by anchor and then by positive.
    """
    distances, is_pair, is_negative = _candidates(distances, same_class)
    pair = tf.cast(tf.where(is_pair & tf.reduce_any(is_negative, axis=1, keepdims=True)), tf.int32)
    anchor, positive = pair[:, 0], pair[:, 1]

    eligible = is_negative & ~tf.math.is_nan(distances)
    farthest = _farthest(distances, is_negative)
    # Each row by distance and then by index (top_k puts the lower index first), with infinity for whatever
    # is not eligible. A negative that is infinitely far is lost among those, but it is the farthest one.
    keys = tf.where(eligible, distances, float("inf"))
    descending, order = tf.math.top_k(-keys, tf.shape(keys)[1])
    sortable = tf.math.count_nonzero(keys < float("inf"), axis=1, dtype=tf.int32)
    threshold = tf.gather_nd(distances, pair)
    rank = _count_at_most(-descending, anchor, threshold)
    found = (rank < tf.gather(sortable, anchor)) & ~tf.math.is_nan(threshold)
    nearest = tf.gather_nd(order, tf.stack([anchor, tf.where(found, rank, 0)], axis=1))
    return anchor, positive, tf.where(found, nearest, tf.gather(farthest, anchor))


def mine_hard_of_distances(distances: Tensor, same_class: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.mine_hard` on a matrix of distances that the caller has computed.

    Args:
        distances: [batch, batch]; row a holds the distances from a.
        same_class: bool [batch, batch]: which samples share a class.

    Returns:
        (anchor, positive, negative), int32 [anchors], by anchor.
    """
    distances, is_positive, is_negative = _candidates(distances, same_class)
    is_anchor = tf.reduce_any(is_positive, axis=1) & tf.reduce_any(is_negative, axis=1)
    # Not gathered by anchor: XLA makes a broadcast of a gather from equal elements, and loses its size.
    positive, negative = (
        tf.cast(tf.where(is_anchor[:, None] & chosen), tf.int32)
        for chosen in (_is_farthest(distances, is_positive), _is_farthest(-distances, is_negative))
    )
    return positive[:, 0], positive[:, 1], negative[:, 1]


def _candidates(distances: Tensor, same_class: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distances without a gradient, and which are to positives and to negatives, [batch, batch + 1]."""
    # One more column, which is never chosen: an empty batch has something to sort, and `where` more than one
    # element to look at (XLA broadcasts what it finds in a single one, even if that is nothing).
    one_more = [[0, 0], [0, 1]]
    is_positive = same_class & ~tf.eye(tf.shape(same_class)[0], dtype=tf.bool)
    distances = tf.stop_gradient(tf.cast(distances, tf.float32))
    return tf.pad(distances, one_more), tf.pad(is_positive, one_more), tf.pad(~same_class, one_more)


def _farthest(distances: Tensor, candidates: Tensor) -> Tensor:
    """Per row the first candidate of the largest distance; of a row of NaN the first one."""
    numbers = candidates & ~tf.math.is_nan(distances)
    largest = tf.reduce_max(tf.where(numbers, distances, -float("inf")), axis=1, keepdims=True)
    found = tf.where(
        tf.reduce_any(numbers, axis=1, keepdims=True), numbers & (distances == largest), candidates
    )
    return tf.argmax(tf.cast(found, tf.int32), axis=1, output_type=tf.int32)


def _is_farthest(distances: Tensor, candidates: Tensor) -> Tensor:
    """Where `_farthest` points to, [batch, batch + 1]."""
    return tf.range(tf.shape(distances)[1]) == _farthest(distances, candidates)[:, None]


def _count_at_most(ascending: Tensor, row: Tensor, threshold: Tensor) -> Tensor:
    """For each threshold, how many elements of ascending[row] do not exceed it: a bisection.

    tf.searchsorted would want a threshold for every element, and holds batch^3 comparisons under XLA.
    """
    width = tf.shape(ascending)[1]

    def halve(span: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        further = count + (span + 1) // 2
        element = tf.gather_nd(ascending, tf.stack([row, tf.minimum(further, width) - 1], axis=1))
        return span // 2, tf.where((further <= width) & (element <= threshold), further, count)

    return tf.while_loop(lambda span, _: span > 0, halve, (width, tf.zeros_like(row)))[1]
