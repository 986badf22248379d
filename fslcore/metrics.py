# SPDX-License-Identifier: MIT
"""Metrics of batches: of a matrix [batch, batch] that compares a batch with itself, and of what it can teach.

    classification_accuracy  min_eigenvalue  MinEigenvalue    of a matrix
    ActiveTriplets                                            of embeddings, [batch, dim]
    AnchorsWithoutPositive                                    of the labels; any predictions

Labels are class ids, [batch] or [batch, 1], or, but for ActiveTriplets, one-hot rows [batch, classes]. A
triplet loss of 0 may mean that all is learnt, or that a batch has nothing to teach: the last two tell which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fslcore import _backend as _backend  # isort: skip (before Keras)
import keras
import tensorflow as tf

from fslcore.arguments import as_bool, as_float, check_mining
from fslcore.labels import nan_if_wrong, same_class, square_matrix
from fslcore.losses.mining import check_distance_metric, distances_of_triplets
from fslcore.replicas import gather_batch, gather_rows

__all__ = [
    "ActiveTriplets",
    "AnchorsWithoutPositive",
    "MinEigenvalue",
    "classification_accuracy",
    "min_eigenvalue",
]

Tensor = Any


def classification_accuracy(ascending: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
    """The accuracy of the nearest other sample of the batch: leave-one-out 1-nearest-neighbour.

    Args:
        ascending: True if the nearest sample has the smallest entry (distances), False if it has the largest
            (similarities).

    Returns:
        A function of (y_true, y_pred [batch, batch]) that returns float32 [batch]: 1 where the nearest other
        sample is of the same class. Of equally near samples the first counts; NaN is never nearest. A sample
        that is alone in its class, or in the batch, counts as 0.
    """
    return _ACCURACIES[as_bool("ascending", ascending)]


def _nearest_neighbour_accuracy(name: str, sign: float) -> Callable[[Tensor, Tensor], Tensor]:
    @keras.saving.register_keras_serializable(package="fslcore", name=name)
    def classification_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
        scores = sign * square_matrix(y_pred)
        candidate = ~tf.math.is_nan(scores) & ~tf.eye(tf.shape(scores)[0], dtype=tf.bool)
        correct = same_class(y_true, scores) & candidate
        # The added column never wins. It is for an empty batch, where the argmax of nothing is an error.
        ranking = tf.pad(
            tf.where(candidate, scores, -float("inf")), [[0, 0], [0, 1]], constant_values=-float("inf")
        )
        nearest = tf.argmax(ranking, axis=1)
        correct = tf.pad(correct, [[0, 0], [0, 1]])
        found = tf.cast(tf.gather(correct, nearest, axis=1, batch_dims=1), tf.float32)
        return nan_if_wrong(found, y_true)

    return classification_accuracy


# Made once, so that each is registered: a compiled model finds its metric by name when it is loaded.
_ACCURACIES = {
    False: _nearest_neighbour_accuracy("classification_accuracy", 1.0),
    True: _nearest_neighbour_accuracy("classification_accuracy_ascending", -1.0),
}


@keras.saving.register_keras_serializable(package="fslcore")
def min_eigenvalue(y_true: Tensor, y_pred: Tensor) -> Tensor:  # noqa: ARG001
    """The least eigenvalue of the symmetric part of a Gram matrix; below 0, the learnt kernel is indefinite.

    Args:
        y_true: Ignored.
        y_pred: [batch, batch].

    Returns:
        float32 scalar; NaN if any entry is NaN or infinite, infinity for an empty matrix. Keras averages it
        over batches; `MinEigenvalue` keeps the least.
    """
    gram = square_matrix(y_pred)
    # The decomposition of a matrix with NaN is an error, and would stop the training.
    is_finite = tf.reduce_all(tf.math.is_finite(gram))
    gram = tf.where(is_finite, gram, 0.0)
    least = tf.reduce_min(tf.linalg.eigvalsh(0.5 * (gram + tf.transpose(gram))))
    return tf.where(is_finite, least, float("nan"))


@keras.saving.register_keras_serializable(package="fslcore")
class MinEigenvalue(keras.metrics.Metric):
    """The least `min_eigenvalue` over all batches.

    Args:
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.
    """

    def __init__(self, name: str = "min_eigenvalue", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        # Equal in all replicas, whose values Keras would otherwise add up.
        self.least = self.add_variable(
            shape=(),
            initializer=keras.initializers.Constant(float("inf")),
            aggregation="only_first_replica",
            name="least",
        )

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds the Gram matrix of a batch; sample weights are ignored."""
        # tf.reduce_min may turn NaN into a number.
        of_replicas = gather_rows(min_eigenvalue(y_true, y_pred)[None])
        eigenvalue = tf.reduce_min(of_replicas) + 0.0 * tf.reduce_sum(
            tf.where(tf.math.is_nan(of_replicas), of_replicas, 0.0)
        )
        eigenvalue = tf.cast(eigenvalue, self.least.dtype)
        least = tf.convert_to_tensor(self.least)
        # Once NaN, the result stays NaN.
        self.least.assign(tf.where(tf.math.is_nan(eigenvalue) | (eigenvalue < least), eigenvalue, least))

    def result(self) -> Tensor:
        """The least eigenvalue so far; infinity before the first batch."""
        return tf.convert_to_tensor(self.least)

    def reset_state(self) -> None:
        """Forgets all batches."""
        self.least.assign(float("inf"))


@keras.saving.register_keras_serializable(package="fslcore")
class ActiveTriplets(keras.metrics.Mean):
    """The fraction of the mined triplets whose hinge is above 0: those that a triplet loss learns from.

    It is 0 without triplets too: when no two samples share a class, or all do. Give it the arguments of the
    loss. Under a `tf.distribute` strategy the triplets are those of the whole batch.

    Args:
        margin: In units of the distance.
        mining: One of `fslcore.kernels.MININGS`.
        distance_metric: As for `fslcore.losses.TripletSemiHardLoss`.
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.

    Raises:
        ValueError: For an unknown rule or metric.
    """

    def __init__(
        self,
        margin: float = 1.0,
        mining: str = "semihard",
        distance_metric: str | Callable[[Tensor], Tensor] = "L2",
        name: str = "active_triplets",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        check_mining(mining)
        check_distance_metric(distance_metric)
        self.margin, self.mining = as_float("margin", margin), mining
        self.distance_metric = distance_metric

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds the triplets of a batch of class ids and embeddings; sample weights are ignored."""
        batch = gather_batch(y_true, y_pred)
        to_positive, to_negative = distances_of_triplets(*batch, self.mining, self.distance_metric)
        super().update_state(tf.cast(to_positive - to_negative + self.margin > 0.0, tf.float32))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        metric = self.distance_metric
        serialised = metric if isinstance(metric, str) else keras.saving.serialize_keras_object(metric)
        arguments = {"margin": self.margin, "mining": self.mining, "distance_metric": serialised}
        return {**super().get_config(), **arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ActiveTriplets:
        """The metric that `get_config` describes."""
        metric = keras.saving.deserialize_keras_object(config["distance_metric"])
        return cls(**{**config, "distance_metric": metric})


@keras.saving.register_keras_serializable(package="fslcore")
class AnchorsWithoutPositive(keras.metrics.Mean):
    """The fraction of the samples that are alone in their class in a batch: no triplet or pair teaches them.

    Under a `tf.distribute` strategy the batch is the whole one.

    Args:
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.
    """

    def __init__(self, name: str = "anchors_without_positive", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds a batch of labels; of the predictions, [batch, ...], only their number counts."""
        y_true, y_pred = gather_batch(y_true, y_pred)
        batch, size = tf.shape(y_pred)[0], y_pred.shape[0]
        same = same_class(y_true, tf.ensure_shape(tf.zeros([batch, batch]), [size, size]))
        others = tf.math.count_nonzero(same, axis=1) - 1
        super().update_state(tf.cast(others == 0, tf.float32))
