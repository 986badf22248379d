# SPDX-License-Identifier: MIT
"""The triplet loss over all triplets of a batch, without the matrix of its distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, as_bool, as_float, as_int64, check_at_least, check_one_of
from fslcore.labels import labelled_embeddings, nan_if_wrong
from fslcore.losses.mining import METRICS_OF_ADDONS
from fslcore.losses.pairs import PairsLoss, References, refuse_function
from fslcore.pair_terms import PairTerm

Tensor = Any

_MOST_LEVELS = 8  # of a pass over the pairs


def triplet_batch_all_loss(
    y_true: Tensor,
    y_pred: Tensor,
    positives: int,
    margin: float = 1.0,
    distance_metric: str = "L2",
    active_only: bool = True,
) -> Tensor:
    """The mean of max(D[a, p] - D[a, n] + margin, 0) over all triplets (Hermans et al., 2017, eq. 6).

    Up to eight positives of the anchors share a pass over the pairs, so that this loss is for batches with a
    few samples of each class. The gradient is made with the loss.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        positives: The most positives that an anchor may have, K - 1 in batches of K samples of each class.
        margin: In units of the distance.
        distance_metric: "L2", "squared-L2" or "angular" (1 - cosine).
        active_only: Whether the mean is over the triplets whose term is above 0, as the paper advises.

    Returns:
        float32 scalar; 0 without triplets. Where a sample has more positives a
        `tf.errors.InvalidArgumentError`, and inside XLA NaN.

    Raises:
        ValueError: For an unknown distance, `positives` below 1, or labels that are not one class id per
            sample.
    """
    refuse_function("triplet_batch_all_loss", "TripletBatchAllLoss")
    return _batch_all(y_true, y_pred, positives, margin, distance_metric, active_only)


def _batch_all(
    y_true: Tensor,
    y_pred: Tensor,
    positives: int,
    margin: float,
    distance_metric: str,
    active_only: bool,
    references: References | None = None,
) -> Tensor:
    if references is not None:
        raise ArgumentError("loss", "must compare pairs, not triplets", described="TripletBatchAllLoss")
    _check(positives, distance_metric)
    margin, metric = as_float("margin", margin), METRICS_OF_ADDONS[distance_metric]
    embeddings, ids = labelled_embeddings(y_true, y_pred)
    order = tf.argsort(ids, stable=True)
    place, of_class = tf.argsort(order, stable=True), tf.gather(ids, order)
    start = tf.searchsorted(of_class, ids, side="left")
    size = tf.searchsorted(of_class, ids, side="right") - start
    fits = tf.reduce_all(size <= positives + 1)
    message = "y_true must hold at most positives + 1 samples of a class, received positives and the samples"
    with tf.control_dependencies([tf.debugging.Assert(fits, [message, positives, tf.reduce_max(size)])]):
        size = tf.identity(size)
    reach, valid = [], []  # for the k-th positive: its distance and the margin; whether there is one
    for k in range(positives):
        at = start + k + tf.cast(start + k >= place, tf.int32)
        valid.append(at < start + size)
        other = tf.gather(order, tf.where(valid[k], at, place))
        reach.append(_distance_to(embeddings, other, metric) + margin)
    # A reach is a level of its anchor: -reach - d is above it where the negative is nearer.
    term = PairTerm("negative", "hinge", "sum", scale=-1.0)
    total = active = tf.constant(0.0)
    for k in range(0, positives, _MOST_LEVELS):
        part = slice(k, k + _MOST_LEVELS)
        levels = tf.where(tf.stack(valid[part]), -tf.stack(reach[part]), float("inf"))
        sums = ops.pair_sums(embeddings, ids, [term], metric=metric, levels=levels)
        total += sums.total
        active += tf.reduce_sum(sums.slopes)
    triplets = (size - 1) * (tf.shape(ids)[0] - size)
    count = active if as_bool("active_only", active_only) else tf.reduce_sum(tf.cast(triplets, tf.float32))
    wrong = tf.reduce_any(tf.math.is_nan(embeddings)) | ~fits
    return nan_if_wrong(tf.math.divide_no_nan(total, count) + tf.where(wrong, float("nan"), 0.0), y_true)


def _distance_to(embeddings: Tensor, others: Tensor, metric: str) -> Tensor:
    """From each row to another one, [batch]: a row and its other have a label of their own."""

    @tf.custom_gradient
    def gathered(embeddings: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        # Its own gradient would be IndexedSlices.
        count = tf.shape(embeddings)[0]
        return tf.gather(embeddings, others), lambda grad: tf.math.unsorted_segment_sum(grad, others, count)

    rows = gathered(embeddings)
    number = tf.range(tf.shape(embeddings, tf.int64)[0])
    return ops.pair_reductions(embeddings, number, [PairTerm("positive")], rows, number, metric).values[0]


def _check(positives: Any, distance_metric: str) -> None:
    check_at_least("positives", as_int64("positives", positives), 1)
    check_one_of("distance_metric", distance_metric, tuple(METRICS_OF_ADDONS))


@keras.saving.register_keras_serializable(package="fslcore")
class TripletBatchAllLoss(PairsLoss):
    """`triplet_batch_all_loss` of embeddings.

    Args:
        positives: The most positives that an anchor may have.
        margin: In units of the distance.
        distance_metric: As for `triplet_batch_all_loss`.
        active_only: Whether the mean is over the triplets whose term is above 0.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    function = staticmethod(_batch_all)

    def __init__(
        self,
        positives: int,
        margin: float = 1.0,
        distance_metric: str = "L2",
        active_only: bool = True,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        _check(positives, distance_metric)
        options: dict[str, Any] = {"positives": int(positives), "margin": as_float("margin", margin)}
        options |= {"distance_metric": distance_metric, "active_only": as_bool("active_only", active_only)}
        super().__init__(name, reduction, **options)
