# SPDX-License-Identifier: MIT
"""The contrastive loss: of distances, as in TensorFlow Addons, and of all pairs of a batch."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import as_float, check_one_of
from fslcore.losses.batch_loss import BatchLoss
from fslcore.losses.pairs import PairsLoss, References, refuse_function, sum_pairs
from fslcore.pair_terms import PairTerm
from fslcore.tensors import real, unmasked

Tensor = Any

_METRICS = ("sqeuclidean", "euclidean", "cosine", "manhattan")


@keras.saving.register_keras_serializable(package="fslcore")
def contrastive_loss(y_true: Tensor, y_pred: Tensor, margin: float = 1.0) -> Tensor:
    """The loss y d^2 + (1 - y) max(margin - d, 0)^2 of pairs (Hadsell et al., CVPR 2006, eq. 4).

    Args:
        y_true: 1 for pairs of one class, 0 for others, [pairs] or [pairs, 1].
        y_pred: Distances, [pairs], or [pairs, 1] as a layer of one unit has them.
        margin: In units of the distance.

    Returns:
        float32, of the shape of `y_pred`.

    Raises:
        ValueError: If the two have different numbers of pairs.
    """
    distances, margin = real("y_pred", y_pred), as_float("margin", margin)
    matching = tf.cast(unmasked("y_true", y_true), tf.float32)
    if not _of_pairs(matching.shape).is_compatible_with(_of_pairs(distances.shape)):
        raise ValueError(
            f"y_true must have the shape of y_pred, {distances.shape}, received shape {matching.shape}"
        )
    of_pairs = tf.reduce_all((matching == 0.0) | (matching == 1.0))
    of_each = tf.size(matching) == tf.size(distances)  # one label would count for all pairs
    message = "y_true must be 1 for pairs of one class and 0 for others, one for each distance, received"
    with tf.control_dependencies([tf.debugging.Assert(of_pairs & of_each, [message, matching])]):
        matching = tf.where(of_pairs & of_each, matching, float("nan"))  # XLA asserts nothing
    matching = tf.reshape(matching, tf.shape(distances))
    beyond = margin - distances
    # Not tf.maximum, which may turn NaN into 0.
    inside = tf.where(beyond <= 0.0, 0.0, beyond)
    return matching * tf.square(distances) + (1.0 - matching) * tf.square(inside)


def _of_pairs(shape: tf.TensorShape) -> tf.TensorShape:
    """[pairs] for [pairs, 1]."""
    return shape[:1] if shape.rank == 2 and shape[1] == 1 else shape


@keras.saving.register_keras_serializable(package="fslcore")
class ContrastiveLoss(BatchLoss):
    """`contrastive_loss`, with name, arguments and values of the TensorFlow Addons class.

    Args:
        margin: In units of the distance.
        reduction: As for `keras.losses.Loss`.
        name: Name of the loss.
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "contrastive_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.margin = as_float("margin", margin)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Losses [pairs] of pairs and their distances."""
        return contrastive_loss(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="fslcore")
def batch_contrastive_loss(
    y_true: Tensor, y_pred: Tensor, margin: float = 1.0, metric: str = "euclidean"
) -> Tensor:
    """`contrastive_loss` of all pairs of two samples of a batch, without the matrix of their distances.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        margin: In units of the distance.
        metric: "euclidean", "sqeuclidean", "cosine" or "manhattan".

    Returns:
        float32 scalar, the mean over all pairs; 0 for a batch without pairs.

    Raises:
        ValueError: For an unknown metric, or labels that are not one class id per sample.
    """
    refuse_function("batch_contrastive_loss", "BatchContrastiveLoss")
    return _batch_contrastive(y_true, y_pred, margin, metric)


def _batch_contrastive(
    y_true: Tensor, y_pred: Tensor, margin: float, metric: str, references: References | None = None
) -> Tensor:
    check_one_of("metric", metric, _METRICS)
    margin = as_float("margin", margin)
    terms = (
        PairTerm("positive", "squared_hinge", "sum"),
        PairTerm("negative", "squared_hinge", "sum", scale=-1.0, offset=margin),
    )
    total, counts = sum_pairs(y_true, y_pred, terms, metric, references=references)
    return tf.math.divide_no_nan(total, tf.reduce_sum(counts))


@keras.saving.register_keras_serializable(package="fslcore")
class BatchContrastiveLoss(PairsLoss):
    """`batch_contrastive_loss` of embeddings.

    Args:
        margin: In units of the distance.
        metric: As for `batch_contrastive_loss`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
    """

    function = staticmethod(_batch_contrastive)

    def __init__(
        self,
        margin: float = 1.0,
        metric: str = "euclidean",
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        check_one_of("metric", metric, _METRICS)
        super().__init__(name, reduction, margin=as_float("margin", margin), metric=metric)
