# SPDX-License-Identifier: MIT
"""The other losses of keras-fsl on a Gram matrix of match probabilities, [batch, batch]."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool, as_float
from fslcore.labels import nan_if_wrong, same_class, square_matrix
from fslcore.losses.batch_loss import BatchLoss, WholeBatchLoss
from fslcore.losses.crossentropy import BinaryCrossentropy, binary_crossentropy, crossentropy_of_scores
from fslcore.losses.reductions import Percentile
from fslcore.replicas import refuse_replicas

Tensor = Any


class _OfAllPairs(BinaryCrossentropy):
    """A cross-entropy whose reduction is part of its name."""

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"name": self.name}


@keras.saving.register_keras_serializable(package="fslcore")
class MaxBinaryCrossentropy(_OfAllPairs):
    """The greatest `binary_crossentropy` of all ordered pairs of a batch.

    Args:
        name: Name of the loss.
    """

    def __init__(self, name: str | None = "max_binary_crossentropy") -> None:
        super().__init__(reduction="max", name=name)


@keras.saving.register_keras_serializable(package="fslcore")
class StdBinaryCrossentropy(_OfAllPairs):
    """The standard deviation of the `binary_crossentropy` of all ordered pairs of a batch.

    Args:
        name: Name of the loss.
    """

    def __init__(self, name: str | None = "std_binary_crossentropy") -> None:
        super().__init__(reduction="std", name=name)


@keras.saving.register_keras_serializable(package="fslcore")
class PercentileBinaryCrossentropy(_OfAllPairs):
    """A percentile of the `binary_crossentropy` of all ordered pairs of a batch.

    Args:
        percentile: From 0 to 100; between two losses it is their midpoint.
        name: Name of the loss.

    Raises:
        ValueError: If the percentile is no number from 0 to 100.
    """

    def __init__(self, percentile: float = 50.0, name: str | None = "percentile_binary_crossentropy") -> None:
        number = as_float("percentile", percentile)
        if not 0 <= number <= 100:
            raise ArgumentError("percentile", "must be from 0 to 100", percentile)
        super().__init__(reduction=Percentile(number), name=name)
        self.percentile = number

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "percentile": self.percentile}


@keras.saving.register_keras_serializable(package="fslcore")
def clipped_binary_crossentropy(
    y_true: Tensor, y_pred: Tensor, lower: float = 0.0, upper: float = 1.0
) -> Tensor:
    """`binary_crossentropy` of the pairs that are neither almost right nor hopelessly wrong, and 0 of others.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
        y_pred: [batch, batch] probabilities that row and column match.
        lower: A pair counts if its loss is above -log(1 - lower): if its score is off by more than that.
        upper: And below -log(1 - upper); 1 stands for no bound.

    Returns:
        float32 [batch, batch], to be averaged over all batch^2 entries.

    Raises:
        ValueError: Unless 0 <= lower < upper <= 1.
    """
    lower, upper = _bounds(lower, upper)
    losses = binary_crossentropy(y_true, y_pred)
    least = -math.log1p(-lower)
    most = -math.log1p(-upper) if upper < 1 else math.inf
    return tf.where((losses <= least) | (losses >= most), 0.0, losses)  # a NaN stays


@keras.saving.register_keras_serializable(package="fslcore")
class ClippedBinaryCrossentropy(BatchLoss):
    """`clipped_binary_crossentropy` of a Gram matrix, averaged over all batch^2 ordered pairs.

    Args:
        lower: As for `clipped_binary_crossentropy`.
        upper: As for `clipped_binary_crossentropy`.
        of_kept: Whether the mean is over the pairs that count, and 0 without any, instead of over all pairs.
        reduction: As for `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: Unless 0 <= lower < upper <= 1.
    """

    def __init__(
        self,
        lower: float = 0.0,
        upper: float = 1.0,
        of_kept: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "clipped_binary_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.lower, self.upper = _bounds(lower, upper)
        self.of_kept = as_bool("of_kept", of_kept)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Losses [batch, batch] of labels and a Gram matrix."""
        losses = clipped_binary_crossentropy(y_true, y_pred, self.lower, self.upper)
        if not self.of_kept:
            return losses
        kept = tf.math.count_nonzero(losses, dtype=tf.float32)
        return losses * tf.math.divide_no_nan(tf.cast(tf.size(losses), tf.float32), kept)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "lower": self.lower, "upper": self.upper, "of_kept": self.of_kept}


@keras.saving.register_keras_serializable(package="fslcore")
def mean_score_classification_loss(y_true: Tensor, y_pred: Tensor, leave_one_out: bool = False) -> Tensor:
    """The cross-entropy of classifying each sample by its mean score with the samples of each class.

    The mean scores of a sample, divided by the sum of their magnitudes, are the probabilities of the classes;
    the loss is -log(p + eps) of its own class, p clipped to [eps, 1 - eps]. A row of zeros has the loss of
    p = 0.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
        y_pred: [batch, batch] scores.
        leave_one_out: Whether to leave the score of a sample with itself out of the mean of its class, which
            it would flatter; a sample that is alone in its class then has loss 0.

    Returns:
        float32 [batch].
    """
    scores = square_matrix(y_pred)
    matching = same_class(y_true, scores)
    classes = _classes(matching)
    counts = _of_classes(tf.ones(tf.shape(scores)[:1]), classes)
    means = tf.math.divide_no_nan(tf.transpose(_of_classes(tf.transpose(scores), classes)), counts)
    own = tf.one_hot(classes, tf.shape(scores)[0], on_value=True, off_value=False, dtype=tf.bool)
    is_alone = tf.gather(counts, classes) < 2.0
    if as_bool("leave_one_out", leave_one_out):
        others = tf.reduce_sum(
            tf.where(matching & ~tf.eye(tf.shape(scores)[0], dtype=tf.bool), scores, 0.0), 1
        )
        mean = tf.math.divide_no_nan(others, tf.gather(counts, classes) - 1.0)
        means = tf.where(own, mean[:, None], means)
    total = tf.reduce_sum(tf.abs(means), axis=1)
    share = tf.math.divide_no_nan(tf.reduce_sum(tf.where(own, means, 0.0), axis=1), total)
    losses = crossentropy_of_scores(share, tf.ones_like(share, tf.bool))
    if leave_one_out:
        losses = tf.where(is_alone, 0.0 * losses, losses)
    return nan_if_wrong(losses, y_true)


@keras.saving.register_keras_serializable(package="fslcore")
class MeanScoreClassificationLoss(BatchLoss):
    """`mean_score_classification_loss`, the mean over the samples of a batch.

    Args:
        leave_one_out: As for the function.
        reduction: As for `keras.losses.Loss`; sample weights [batch] weight the samples.
        name: Name of the loss.
    """

    def __init__(
        self,
        leave_one_out: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_score_classification_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.leave_one_out = as_bool("leave_one_out", leave_one_out)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch, as for any `keras.losses.Loss`; 0 for an empty one."""
        loss = super().__call__(y_true, y_pred, sample_weight)
        is_whole = self.reduction not in (None, "none")
        return tf.reduce_sum(loss) if is_whole and loss.shape.rank == 1 else loss  # Keras reduces no [0]

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Losses [batch] of labels and a Gram matrix."""
        return mean_score_classification_loss(y_true, y_pred, self.leave_one_out)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "leave_one_out": self.leave_one_out}


@keras.saving.register_keras_serializable(package="fslcore")
def class_consistency_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean cross-entropy of "these two classes are the same", by the mean scores between classes.

    The score of two classes is the mean over all ordered pairs of their samples; those of a class with itself
    include the scores of samples with themselves. The mean is over the ordered pairs of the classes that
    occur.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
        y_pred: [batch, batch] probabilities that row and column match.

    Returns:
        float32 scalar; 0 for an empty batch.
    """
    refuse_replicas("the function class_consistency_loss, unlike the class ClassConsistencyLoss,")
    return _class_consistency(y_true, y_pred)


@keras.saving.register_keras_serializable(package="fslcore")
class ClassConsistencyLoss(WholeBatchLoss):
    """`class_consistency_loss` of a Gram matrix.

    Under a `tf.distribute` strategy it is the mean over replicas: each has the matrix of its own samples.

    Args:
        reduction: As for `keras.losses.Loss`; a batch has one loss.
        name: Name of the loss.
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "class_consistency_loss"
    ) -> None:
        super().__init__(name, reduction)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of labels and a Gram matrix."""
        return _class_consistency(y_true, y_pred)


def _class_consistency(y_true: Tensor, y_pred: Tensor) -> Tensor:
    scores = square_matrix(y_pred)
    classes = _classes(same_class(y_true, scores))
    counts = _of_classes(tf.ones(tf.shape(scores)[:1]), classes)
    sums = _of_classes(tf.transpose(_of_classes(scores, classes)), classes)
    means = tf.math.divide_no_nan(tf.transpose(sums), counts[:, None] * counts)
    losses = crossentropy_of_scores(means, tf.eye(tf.shape(scores)[0], dtype=tf.bool))
    occurs = (counts > 0.0)[:, None] & (counts > 0.0)
    total = tf.reduce_sum(tf.where(occurs, losses, 0.0))
    return nan_if_wrong(tf.math.divide_no_nan(total, tf.math.count_nonzero(occurs, dtype=tf.float32)), y_true)


def _classes(matching: Tensor) -> Tensor:
    """The class of each sample as the position of its first sample, int32 [batch]."""
    one_more = tf.pad(tf.cast(matching, tf.int32), [[0, 0], [0, 1]])  # no axis is empty then
    return tf.argmax(one_more, axis=1, output_type=tf.int32)


def _of_classes(rows: Tensor, classes: Tensor) -> Tensor:
    """The sum of the rows of each class, at the position of its first sample, and zeros at the others."""
    return tf.math.unsorted_segment_sum(rows, classes, tf.shape(classes)[0])


def _bounds(lower: Any, upper: Any) -> tuple[float, float]:
    least, most = as_float("lower", lower), as_float("upper", upper)
    if not 0 <= least < 1:
        raise ArgumentError("lower", "must be at least 0 and below 1", lower)
    if not least < most <= 1:
        raise ArgumentError("upper", f"must be above lower ({least}) and at most 1", upper)
    return least, most
