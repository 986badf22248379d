# SPDX-License-Identifier: MIT
"""The triplet loss of a matrix of distances, [batch, batch]."""

from __future__ import annotations

from typing import Any

import keras

from fslcore.arguments import as_float
from fslcore.distance_matrix import triplet_semihard_of_distances
from fslcore.labels import nan_if_wrong, same_class, square_matrix
from fslcore.losses.batch_loss import WholeBatchLoss
from fslcore.replicas import refuse_replicas

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
def triplet_loss(y_true: Tensor, y_pred: Tensor, margin: float = 1.0) -> Tensor:
    """The triplet loss with semi-hard negatives on a matrix of distances.

    For every ordered pair (anchor, positive) of one class the negative is the nearest sample of another class
    that is strictly farther than the positive, else the farthest one (Schroff et al., "FaceNet", CVPR 2015,
    section 3.2). The loss is the mean of max(D[a, p] - D[a, n] + margin, 0), in O(batch^2) memory.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
        y_pred: [batch, batch] distances.
        margin: In units of the distances.

    Returns:
        float32 scalar; 0 if no two samples share a class, or all do.
    """
    refuse_replicas("the function triplet_loss, unlike the class TripletLoss,")
    return _loss_of_matrix(y_true, y_pred, margin)


@keras.saving.register_keras_serializable(package="fslcore")
class TripletLoss(WholeBatchLoss):
    """`triplet_loss` of a matrix of distances.

    Under a `tf.distribute` strategy it is the mean over replicas: each has the matrix of its own samples.

    Args:
        margin: In units of the distances.
        reduction: As for `keras.losses.Loss`; a batch has one loss.
        name: Name of the loss.
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "triplet_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.margin = as_float("margin", margin)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of labels and distances."""
        return _loss_of_matrix(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}


def _loss_of_matrix(y_true: Tensor, y_pred: Tensor, margin: float) -> Tensor:
    distances = square_matrix(y_pred)
    margin = as_float("margin", margin)
    loss = triplet_semihard_of_distances(distances, same_class(y_true, distances), margin)
    return nan_if_wrong(loss, y_true)
