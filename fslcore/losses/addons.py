# SPDX-License-Identifier: MIT
"""Triplet losses of embeddings, [batch, dim]: drop-in replacements for those of TensorFlow Addons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError
from fslcore.distance_matrix import triplet_hard_of_distances, triplet_semihard_of_distances
from fslcore.labels import class_ids, same_class, square_matrix
from fslcore.losses.batch_loss import BatchTripletLoss
from fslcore.results import TripletResult

Tensor = Any

_METRICS = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}


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
    return _of_embeddings(
        ops.triplet_semihard, triplet_semihard_of_distances, y_true, y_pred, margin, distance_metric
    )


@keras.saving.register_keras_serializable(package="fslcore")
def triplet_hard_loss(
    y_true: Tensor,
    y_pred: Tensor,
    margin: float = 1.0,
    distance_metric: str | Callable[[Tensor], Tensor] = "L2",
) -> Tensor:
    """The triplet loss of embeddings with the farthest positive and the nearest negative of each anchor.

    Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification" (2017), eq. 5: the
    mean of max(D[a, p] - D[a, n] + margin, 0) over the anchors that have a positive and a negative.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        margin: In units of the distance.
        distance_metric: As for `triplet_semihard_loss`.

    Returns:
        float32 scalar; 0 if no two samples share a class, or all do.

    Raises:
        ValueError: As for `triplet_semihard_loss`.
    """
    return _of_embeddings(
        ops.triplet_hard, triplet_hard_of_distances, y_true, y_pred, margin, distance_metric
    )


class _EmbeddingsLoss(BatchTripletLoss):
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
    def from_config(cls, config: dict[str, Any]) -> _EmbeddingsLoss:
        """The loss that `get_config` describes."""
        metric = config["distance_metric"]
        return cls(**{**config, "distance_metric": keras.saving.deserialize_keras_object(metric)})


@keras.saving.register_keras_serializable(package="fslcore")
class TripletSemiHardLoss(_EmbeddingsLoss):
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
        return triplet_semihard_loss(y_true, y_pred, self.margin, self.distance_metric)


@keras.saving.register_keras_serializable(package="fslcore")
class TripletHardLoss(_EmbeddingsLoss):
    """`triplet_hard_loss` of embeddings, with name and values of the TensorFlow Addons class; no `soft`.

    The Addons class counts a sample that is alone in its class with D[a, p] = 0; this one does not count it.
    Gradients at distance 0 are 0.

    Args:
        margin: In units of the distance.
        distance_metric: As for `TripletSemiHardLoss`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; a batch has one loss.

    Raises:
        ValueError: For an unknown metric.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return triplet_hard_loss(y_true, y_pred, self.margin, self.distance_metric)


def _of_embeddings(
    on_embeddings: Callable[..., TripletResult],
    on_distances: Callable[..., Tensor],
    y_true: Tensor,
    y_pred: Tensor,
    margin: float,
    distance_metric: str | Callable[[Tensor], Tensor],
) -> Tensor:
    _check_distance_metric(distance_metric)
    embeddings = tf.cast(y_pred, tf.float32)
    if embeddings.shape.rank != 2:
        raise ValueError(f"y_pred must be embeddings [batch, dim], received shape {embeddings.shape}")
    ids = class_ids(y_true, embeddings)
    if isinstance(distance_metric, str):
        return on_embeddings(embeddings, ids, margin, _METRICS[distance_metric]).loss
    distances = square_matrix(distance_metric(embeddings))
    return on_distances(distances, same_class(ids, distances), margin)


def _check_distance_metric(distance_metric: Any) -> None:
    if not callable(distance_metric) and distance_metric not in _METRICS:
        known = ", ".join(_METRICS)
        raise ArgumentError(
            "distance_metric", f"must be one of {known} or a function of the embeddings", distance_metric
        )
