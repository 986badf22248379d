# SPDX-License-Identifier: MIT
"""Losses over the pairs and triplets of a batch.

    binary_crossentropy    BinaryCrossentropy     on a Gram matrix of match probabilities, [batch, batch]
    triplet_loss           TripletLoss            on a matrix of distances, [batch, batch]
    triplet_semihard_loss  TripletSemiHardLoss    on embeddings, [batch, dim]; the matrix is never held
    triplet_hard_loss      TripletHardLoss        the same with the hardest triplets

Labels are class ids [batch] or [batch, 1], or for the first two also one-hot rows. Everything is computed in
float32, whatever the policy of the model. A batch without a triplet has loss 0 and gradient 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops, twins
from fslcore.labels import class_ids, same_class, square_matrix

Tensor = Any

_TRIPLET_METRICS = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}
# On embeddings, and on distances.
_SEMIHARD = (ops.triplet_semihard, twins.triplet_semihard_of_distances)
_HARD = (ops.triplet_hard, twins.triplet_hard_of_distances)


@keras.saving.register_keras_serializable(package="fslcore")
def binary_crossentropy(y_true: Tensor, y_pred: Tensor, balanced: bool = False) -> Tensor:
    """The cross-entropy of "these two are of one class", for every ordered pair of a batch.

    -log(p + eps) for matching pairs and -log(1 - p + eps) for the others, with the score p clipped to
    [eps, 1 - eps] and eps = keras.config.epsilon(), the convention of keras-fsl: at most 15.42495.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
        y_pred: [batch, batch] probabilities that row and column match.
        balanced: Weights the pairs so that the matching ones count half in the mean, all others the other
            half, and a sample with itself nothing. In a batch of P classes with K samples only K - 1 of
            P K - 1 pairs match. A kind that does not occur contributes 0.

    Returns:
        float32 [batch, batch], to be averaged over all batch^2 entries.
    """
    scores = square_matrix(y_pred)
    matching = same_class(y_true, scores)
    epsilon = keras.config.epsilon()
    # Not tf.clip_by_value, which may turn NaN into a number.
    scores = tf.where(scores < epsilon, epsilon, tf.where(scores > 1.0 - epsilon, 1.0 - epsilon, scores))
    losses = -tf.math.log(tf.where(matching, scores, 1.0 - scores) + epsilon)
    if not balanced:
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
def triplet_loss(y_true: Tensor, y_pred: Tensor, margin: float = 1.0) -> Tensor:
    """The triplet loss with semi-hard negatives on a matrix of distances.

    For every ordered pair (anchor, positive) of one class the negative is the nearest sample of another class
    that is strictly farther than the positive, else the farthest one (Schroff et al., "FaceNet", CVPR 2015,
    section 3.2). The loss is the mean of max(D[a, p] - D[a, n] + margin, 0), in O(batch^2) memory.

    Args:
        y_true: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
        y_pred: [batch, batch] distances (small for what belongs together).
        margin: In units of the distances.

    Returns:
        float32 scalar; 0 if no two samples share a class, or all do.
    """
    distances = square_matrix(y_pred)
    return twins.triplet_semihard_of_distances(distances, same_class(y_true, distances), margin)


@keras.saving.register_keras_serializable(package="fslcore")
def triplet_semihard_loss(
    y_true: Tensor,
    y_pred: Tensor,
    margin: float = 1.0,
    distance_metric: str | Callable[[Tensor], Tensor] = "L2",
) -> Tensor:
    """`triplet_loss` on embeddings, without their matrix of distances.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        margin: In units of the distance.
        distance_metric: "L2", "squared-L2", "angular" (1 - cosine), or a function of the embeddings that
            returns their distances, [batch, batch].

    Returns:
        float32 scalar.

    Raises:
        ValueError: For an unknown metric, or labels that are not one class id per sample.
    """
    return _of_embeddings(_SEMIHARD, y_true, y_pred, margin, distance_metric)


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
    return _of_embeddings(_HARD, y_true, y_pred, margin, distance_metric)


class _Reduction(keras.losses.Loss):
    """Keras' own reduction of values that are losses already."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:  # noqa: ARG002
        return y_pred


class _BatchLoss(keras.losses.Loss):
    """A loss in float32 whose labels keep their dtype: keras.losses.Loss would cast them to float32 too."""

    def __init__(self, name: str | None, reduction: str | None) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        with tf.name_scope(self.name):
            losses = self.call(y_true, y_pred)
            return _Reduction(self.name, self.reduction, self.dtype)(losses, losses, sample_weight)


@keras.saving.register_keras_serializable(package="fslcore")
class BinaryCrossentropy(_BatchLoss):
    """`binary_crossentropy` of a Gram matrix, averaged over all batch^2 ordered pairs.

    Sample weights [batch] weigh the rows of the matrix.

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
        self.balanced = balanced

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of a batch, as of any `keras.losses.Loss`."""
        if sample_weight is not None:
            sample_weight = tf.convert_to_tensor(sample_weight)
            if sample_weight.shape.rank == 1:  # Keras would weigh the columns
                sample_weight = sample_weight[:, None]
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Losses [batch, batch] of labels and a Gram matrix."""
        return binary_crossentropy(y_true, y_pred, self.balanced)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "balanced": self.balanced}


class _TripletLoss(_BatchLoss):
    """A loss that is one number per batch."""

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        if sample_weight is not None:
            raise ValueError(
                "sample_weight must be None: a triplet has three samples, received a weight for each"
            )
        return super().__call__(y_true, y_pred)


@keras.saving.register_keras_serializable(package="fslcore")
class TripletLoss(_TripletLoss):
    """`triplet_loss` of a matrix of distances.

    Args:
        margin: In units of the distances.
        reduction: As for `keras.losses.Loss`; the loss of a batch is one number.
        name: Name of the loss.
    """

    def __init__(
        self,
        margin: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "triplet_loss",
    ) -> None:
        super().__init__(name, reduction)
        self.margin = margin

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of labels and distances."""
        return triplet_loss(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "margin": self.margin}


class _EmbeddingsLoss(_TripletLoss):
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
    """`triplet_semihard_loss` of embeddings: name, arguments and values of the TensorFlow Addons class.

    Where that returns NaN (no two samples of one class) or a number without meaning (one class only), this
    returns 0. Gradients at distance 0 are 0.

    Args:
        margin: In units of the distance.
        distance_metric: "L2", "squared-L2", "angular", or a function of the embeddings [batch, dim] that
            returns their distances [batch, batch]; to be saved with a model it has to be registered with
            `keras.saving.register_keras_serializable`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; the loss of a batch is one number.

    Raises:
        ValueError: For an unknown metric.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return triplet_semihard_loss(y_true, y_pred, self.margin, self.distance_metric)


@keras.saving.register_keras_serializable(package="fslcore")
class TripletHardLoss(_EmbeddingsLoss):
    """`triplet_hard_loss` of embeddings: name and values of the TensorFlow Addons class, without its `soft`.

    A sample that is alone in its class counts there with D[a, p] = 0, here not at all. Gradients at distance
    0 are 0.

    Args:
        margin: In units of the distance.
        distance_metric: As for `TripletSemiHardLoss`.
        name: Name of the loss.
        reduction: As for `keras.losses.Loss`; the loss of a batch is one number.

    Raises:
        ValueError: For an unknown metric.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        return triplet_hard_loss(y_true, y_pred, self.margin, self.distance_metric)


def _of_embeddings(
    mining: tuple[Callable[..., Any], Callable[..., Tensor]],
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
    on_embeddings, on_distances = mining
    if isinstance(distance_metric, str):
        return on_embeddings(embeddings, ids, margin, _TRIPLET_METRICS[distance_metric]).loss
    distances = square_matrix(distance_metric(embeddings))
    return on_distances(distances, same_class(ids, distances), margin)


def _check_distance_metric(distance_metric: Any) -> None:
    if not callable(distance_metric) and distance_metric not in _TRIPLET_METRICS:
        raise ValueError(
            f"distance_metric must be one of {', '.join(_TRIPLET_METRICS)} or a function of the embeddings, "
            f"received {distance_metric!r}"
        )
