# SPDX-License-Identifier: MIT
"""The cross-entropy of a Gram matrix of match probabilities, [batch, batch]."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import as_bool
from fslcore.labels import nan_if_wrong, same_class, square_matrix
from fslcore.losses.batch_loss import BatchLoss

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
def binary_crossentropy(y_true: Tensor, y_pred: Tensor, balanced: bool = False) -> Tensor:
    """The cross-entropy of "these two are of one class", for every ordered pair of a batch.

    -log(p + eps) for matching pairs and -log(1 - p + eps) for the others, with the score p clipped to
    [eps, 1 - eps] and eps = keras.config.epsilon(), the convention of keras-fsl: at most 15.42495.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
        y_pred: [batch, batch] probabilities that row and column match.
        balanced: Weights the pairs so that the matching pairs make up half of the mean, the others the other
            half, and the pairs of a sample with itself nothing. In a batch of P classes with K samples only
            K - 1 of P K - 1 pairs match. A kind that does not occur contributes 0.

    Returns:
        float32 [batch, batch], to be averaged over all batch^2 entries.
    """
    scores = square_matrix(y_pred)
    matching = same_class(y_true, scores)
    epsilon = keras.config.epsilon()
    # Not tf.clip_by_value, which may turn NaN into a number.
    scores = tf.where(scores < epsilon, epsilon, tf.where(scores > 1.0 - epsilon, 1.0 - epsilon, scores))
    losses = nan_if_wrong(-tf.math.log(tf.where(matching, scores, 1.0 - scores) + epsilon), y_true)
    if not as_bool("balanced", balanced):
        return losses
    batch = tf.shape(scores)[0]
    others = ~tf.eye(batch, dtype=tf.bool)
    share = 0.5 * tf.square(tf.cast(batch, tf.float32))
    kinds = (matching & others, ~matching & others)
    return tf.add_n(
        [
            tf.where(kind, losses, 0.0)
            * tf.math.divide_no_nan(share, tf.math.count_nonzero(kind, dtype=tf.float32))
            for kind in kinds
        ]
    )


@keras.saving.register_keras_serializable(package="fslcore")
class BinaryCrossentropy(BatchLoss):
    """`binary_crossentropy` of a Gram matrix, averaged over all batch^2 ordered pairs.

    Sample weights [batch] weight the rows of the matrix.

    Args:
        balanced: Whether matching and other pairs count the same in total.
        reduction: As for `keras.losses.Loss`.
        name: Name of the loss.
    """

    def __init__(
        self,
        balanced: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
    ) -> None:
        super().__init__(name, reduction)
        self.balanced = as_bool("balanced", balanced)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch, as for any `keras.losses.Loss`."""
        if sample_weight is not None:
            sample_weight = tf.convert_to_tensor(sample_weight)
            if sample_weight.shape.rank == 1:  # Keras would weight the columns
                sample_weight = sample_weight[:, None]
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Losses [batch, batch] of labels and a Gram matrix."""
        return binary_crossentropy(y_true, y_pred, self.balanced)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "balanced": self.balanced}
