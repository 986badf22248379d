# SPDX-License-Identifier: MIT
"""Triplet losses of embeddings, [batch, dim]: drop-in replacements for those of TensorFlow Addons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from fslcore.arguments import as_bool
from fslcore.losses.mining import EmbeddingsLoss, loss_of_embeddings
from fslcore.replicas import refuse_replicas

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
def triplet_semihard_loss(
    y_true: Tensor,
    y_pred: Tensor,
    margin: float = 1.0,
    distance_metric: str | Callable[[Tensor], Tensor] = "L2",
) -> Tensor:
    """`fslcore.losses.triplet_loss` on embeddings, without their matrix of distances.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        margin: In units of the distance.
        distance_metric: "L2", "squared-L2", "angular" (1 - cosine), or a function of the embeddings that
            returns their distances, [batch, batch].

    Returns:
        float32 scalar.

    Raises:
        ValueError: If the metric is unknown, or labels are not one class id per sample.
    """
    refuse_replicas("the function triplet_semihard_loss, unlike the class TripletSemiHardLoss,")
    return loss_of_embeddings(y_true, y_pred, "semihard", margin, distance_metric)


@keras.saving.register_keras_serializable(package="fslcore")
def triplet_hard_loss(
    y_true: Tensor,
    y_pred: Tensor,
    margin: float = 1.0,
    distance_metric: str | Callable[[Tensor], Tensor] = "L2",
    *,
    soft: bool = False,
) -> Tensor:
    """The triplet loss of embeddings with the farthest positive and the nearest negative of each anchor.

    Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification" (2017), eq. 5: the
    mean of max(D[a, p] - D[a, n] + margin, 0) over the anchors that have a positive and a negative. With
    `soft`, the paper's soft margin, it is the mean of log(1 + exp(D[a, p] - D[a, n])) over the same anchors.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        margin: In units of the distance.
        distance_metric: As for `triplet_semihard_loss`.
        soft: Whether the soft form replaces the hinge; then `margin` is ignored, as in Addons.

    Returns:
        float32 scalar; 0 if no two samples share a class, or all do.

    Raises:
        ValueError: As for `triplet_semihard_loss`.
    """
    refuse_replicas("the function triplet_hard_loss, unlike the class TripletHardLoss,")
    return loss_of_embeddings(y_true, y_pred, "hard", margin, distance_metric, soft)


@keras.saving.register_keras_serializable(package="fslcore")
class TripletSemiHardLoss(EmbeddingsLoss):
    """`triplet_semihard_loss` of embeddings, with name, arguments and values of the TensorFlow Addons class.

    Where that class returns NaN (no two samples share a class) or a meaningless number (one class only), this
    one returns 0. Gradients at distance 0 are 0.

    Args:
        margin: In units of the distance.
        distance_metric: "L2", "squared-L2", "angular", or a function of the embeddings [batch, dim] that
            returns their distances [batch, batch]; to be saved with a model, register the function with
            `keras.saving.register_keras_serializable`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.

    Raises:
        ValueError: For an unknown metric.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return loss_of_embeddings(y_true, y_pred, "semihard", self.margin, self.distance_metric)


@keras.saving.register_keras_serializable(package="fslcore")
class TripletHardLoss(EmbeddingsLoss):
    """`triplet_hard_loss` of embeddings, with name and values of the TensorFlow Addons class.

    The Addons class counts a sample that is alone in its class with D[a, p] = 0, and in a batch of one class
    the farthest samples as negatives. This one counts neither, `soft` or not: the mean is over the samples
    that have a positive and a negative, and 0 without any. Gradients at distance 0 are 0.

    Args:
        margin: In units of the distance.
        distance_metric: As for `TripletSemiHardLoss`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
        soft: As for `triplet_hard_loss`.

    Raises:
        ValueError: For an unknown metric.
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: str | Callable[[Tensor], Tensor] = "L2",
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        *,
        soft: bool = False,
    ) -> None:
        super().__init__(margin, distance_metric, name, reduction)
        self.soft = as_bool("soft", soft)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return loss_of_embeddings(y_true, y_pred, "hard", self.margin, self.distance_metric, self.soft)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "soft": self.soft}
