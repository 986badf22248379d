# SPDX-License-Identifier: MIT
"""The cross-entropy of a Gram matrix of match probabilities, [batch, batch]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool
from fslcore.labels import nan_if_wrong, same_class, square_matrix
from fslcore.losses.batch_loss import BatchLoss
from fslcore.losses.reductions import own_reduction
from fslcore.replicas import share_of_replica

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
    losses = nan_if_wrong(crossentropy_of_scores(scores, matching), y_true)
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


def crossentropy_of_scores(scores: Tensor, matching: Tensor) -> Tensor:
    """-log(p + eps) where `matching`, else -log(1 - p + eps), of scores p clipped to [eps, 1 - eps]."""
    epsilon = keras.config.epsilon()
    # Not tf.clip_by_value, which may turn NaN into a number.
    scores = tf.where(scores < epsilon, epsilon, tf.where(scores > 1.0 - epsilon, 1.0 - epsilon, scores))
    return -tf.math.log(tf.where(matching, scores, 1.0 - scores) + epsilon)


@keras.saving.register_keras_serializable(package="fslcore")
class BinaryCrossentropy(BatchLoss):
    """`binary_crossentropy` of a Gram matrix, averaged over all batch^2 ordered pairs or reduced otherwise.

    Sample weights [batch] weight the rows of the matrix.

    Args:
        balanced: Whether matching and other pairs count the same in total.
        reduction: As for `keras.losses.Loss`; or "max", "std" or "percentile" (the median) of all batch^2
            losses, `fslcore.losses.Percentile(q)`, or a function of losses [batch, batch] that returns a
            scalar, registered with `keras.saving.register_keras_serializable` to be saved with a model. Of
            these, under a `tf.distribute` strategy, the loss is the mean over replicas.
        name: Name of the loss.

    Raises:
        ValueError: For an unknown reduction, or one but Keras' with `balanced` or sample weights.
    """

    def __init__(
        self,
        balanced: bool = False,
        reduction: str | Callable[[Tensor], Tensor] | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
    ) -> None:
        self.reduce = own_reduction(reduction)
        of_keras: Any = "sum_over_batch_size" if self.reduce else reduction
        super().__init__(name, of_keras)
        self.balanced = as_bool("balanced", balanced)
        self.given_reduction = reduction
        if self.balanced and self.reduce:
            raise ArgumentError("balanced", "must be False unless losses are averaged or added up", balanced)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch, as for any `keras.losses.Loss`."""
        if self.reduce:
            return self._reduced(self.reduce, y_true, y_pred, sample_weight)
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
        reduction = self.given_reduction
        if callable(reduction):
            reduction = keras.saving.serialize_keras_object(reduction)
        return {**super().get_config(), "balanced": self.balanced, "reduction": reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BinaryCrossentropy:
        """The loss that `get_config` describes."""
        reduction = config.get("reduction")
        if isinstance(reduction, dict):
            config = {**config, "reduction": keras.saving.deserialize_keras_object(reduction)}
        return cls(**config)

    def _reduced(
        self,
        reduce: Callable[[Tensor], Tensor],
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None,
    ) -> Tensor:
        if sample_weight is not None:
            raise ArgumentError(
                "sample_weight",
                "must be None, and so must class_weight of fit, unless losses are averaged or added up",
                described="a weight for each sample",
            )
        with tf.name_scope(self.name):
            loss = reduce(self.call(y_true, y_pred))
            if loss.shape.rank not in (None, 0):
                raise ArgumentError(
                    "reduction", "must return a scalar", described=f"shape {loss.shape.as_list()}"
                )
            return share_of_replica(loss)
