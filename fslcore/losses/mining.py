# SPDX-License-Identifier: MIT
"""The triplet loss of embeddings, [batch, dim], by any rule of mining."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from fslcore import ops, twins
from fslcore.arguments import ArgumentError, as_bool, as_float, check_mining
from fslcore.distance_matrix import distances_of_mined_triplets, mean_hinge, mean_softplus
from fslcore.labels import labelled_embeddings, nan_if_wrong, same_class, square_matrix
from fslcore.losses.batch_loss import LossOfEmbeddings
from fslcore.replicas import refuse_replicas
from fslcore.xla import refuse_missing_kernels

Tensor = Any

METRICS_OF_ADDONS = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}


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
    refuse_replicas("the function triplet_mining_loss, unlike the class TripletMiningLoss,")
    return loss_of_embeddings(y_true, y_pred, mining, margin, distance_metric)


def loss_of_embeddings(
    y_true: Tensor,
    y_pred: Tensor,
    mining: str,
    margin: float,
    distance_metric: str | Callable[[Tensor], Tensor],
    soft: bool = False,
) -> Tensor:
    """`triplet_mining_loss`, or with `soft` the mean of log(1 + exp(D[a, p] - D[a, n])) without a margin."""
    check_mining(mining)
    check_distance_metric(distance_metric)
    margin = as_float("margin", margin)
    if as_bool("soft", soft):
        loss = mean_softplus(*distances_of_triplets(y_true, y_pred, mining, distance_metric))
    elif callable(distance_metric):
        loss = mean_hinge(*distances_of_triplets(y_true, y_pred, mining, distance_metric), margin)
    else:
        refuse_missing_kernels("the triplet loss of embeddings")
        embeddings, ids = labelled_embeddings(y_true, y_pred)
        loss = ops.triplet_loss(embeddings, ids, mining, margin, METRICS_OF_ADDONS[distance_metric]).loss
    return nan_if_wrong(loss, y_true)


def distances_of_triplets(
    y_true: Tensor, y_pred: Tensor, mining: str, distance_metric: str | Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """From the anchors of the mined triplets of embeddings to positives and to negatives, [triplets] each."""
    embeddings, ids = labelled_embeddings(y_true, y_pred)
    if callable(distance_metric):
        matrix = square_matrix(distance_metric(embeddings))
        return distances_of_mined_triplets(matrix, same_class(ids, matrix), mining)
    refuse_missing_kernels("the mining of triplets")
    metric = METRICS_OF_ADDONS[distance_metric]
    return twins.distances_of_triplets(embeddings, ops.mine_triplets(embeddings, ids, mining, metric), metric)


def check_distance_metric(distance_metric: Any) -> None:
    """Raises ArgumentError for anything but the name of a distance or a function."""
    if not callable(distance_metric) and distance_metric not in METRICS_OF_ADDONS:
        known = ", ".join(METRICS_OF_ADDONS)
        raise ArgumentError(
            "distance_metric", f"must be one of {known} or a function of the embeddings", distance_metric
        )


class EmbeddingsLoss(LossOfEmbeddings):
    """A triplet loss of embeddings, with the arguments of TensorFlow Addons.

    Under a `tf.distribute` strategy the triplets are those of the whole batch, as on one device.
    """

    def __init__(
        self,
        margin: float = 1.0,
        distance_metric: str | Callable[[Tensor], Tensor] = "L2",
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
    ) -> None:
        super().__init__(name, reduction)
        check_distance_metric(distance_metric)
        self.margin = as_float("margin", margin)
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
        return loss_of_embeddings(y_true, y_pred, self.mining, self.margin, self.distance_metric)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "mining": self.mining}
