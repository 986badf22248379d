# SPDX-License-Identifier: MIT
"""The triplet loss of embeddings, [batch, dim], by any rule of mining."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, check_mining
from fslcore.distance_matrix import triplet_loss_of_distances
from fslcore.labels import class_ids, same_class, square_matrix
from fslcore.losses.batch_loss import BatchTripletLoss

Tensor = Any

_METRICS = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}


@keras.saving.register_keras_serializable(package="fslcore")
def triplet_mining_loss(
    y_true: Tensor,
    y_pred: Tensor,
    mining: str = "semihard",
    margin: float = 1.0,
    distance_metric: str | Callable[[Tensor], Tensor] = "L2",
) -> Tensor:
    """The triplet loss of embeddings on the triplets that a rule of mining chooses.

    The mean of max(D[a, p] - D[a, n] + margin, 0) over the triplets of `fslcore.kernels.mine_triplets`; the
    matrix of distances is not held, unless `distance_metric` is a function that returns it.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        mining: One of `fslcore.kernels.MININGS`.
        margin: In units of the distance.
        distance_metric: "L2", "squared-L2", "angular" (1 - cosine), or a function of the embeddings that
            returns their distances, [batch, batch].

    Returns:
        float32 scalar; 0 if no two samples share a class, or all do.

    Raises:
        ValueError: If the rule or the metric is unknown, or labels are not one class id per sample.
    """
    check_mining(mining)
    _check_distance_metric(distance_metric)
    embeddings = tf.cast(y_pred, tf.float32)
    if embeddings.shape.rank != 2:
        raise ValueError(f"y_pred must be embeddings [batch, dim], received shape {embeddings.shape}")
    ids = class_ids(y_true, embeddings)
    if isinstance(distance_metric, str):
        return ops.triplet_loss(embeddings, ids, mining, margin, _METRICS[distance_metric]).loss
    distances = square_matrix(distance_metric(embeddings))
    return triplet_loss_of_distances(distances, same_class(ids, distances), mining, margin)


class EmbeddingsLoss(BatchTripletLoss):
    """A triplet loss of embeddings, with the arguments of TensorFlow Addons."""

    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: str | Callable[[Tensor], Tensor] = "L2",
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(name, reduction)
        _check_distance_metric(distance_metric)
        self.margin = margin
        self.distance_metric = distance_metric

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        metric = self.distance_metric
        serialised = metric if isinstance(metric, str) else keras.saving.serialize_keras_object(metric)
        return {**super().get_config(), "margin": self.margin, "distance_metric": serialised}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EmbeddingsLoss:
        """The loss that `get_config` describes."""
        metric = config["distance_metric"]
        return cls(**{**config, "distance_metric": keras.saving.deserialize_keras_object(metric)})


@keras.saving.register_keras_serializable(package="fslcore")
class TripletMiningLoss(EmbeddingsLoss):
    """`triplet_mining_loss` of embeddings.

    Args:
        mining: One of `fslcore.kernels.MININGS`.
        margin: In units of the distance.
        distance_metric: As for `TripletSemiHardLoss`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.

    Raises:
        ValueError: For an unknown rule or metric.
    """

    def __init__(
        self,
        mining: str = "semihard",
        margin: float = 1.0,
        distance_metric: str | Callable[[Tensor], Tensor] = "L2",
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(margin, distance_metric, name, reduction)
        check_mining(mining)
        self.mining = mining

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return triplet_mining_loss(y_true, y_pred, self.mining, self.margin, self.distance_metric)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "mining": self.mining}


def _check_distance_metric(distance_metric: Any) -> None:
    if not callable(distance_metric) and distance_metric not in _METRICS:
        known = ", ".join(_METRICS)
        raise ArgumentError(
            "distance_metric", f"must be one of {known} or a function of the embeddings", distance_metric
        )
