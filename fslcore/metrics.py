# SPDX-License-Identifier: MIT
"""Metrics of a matrix [batch, batch] that compares a batch with itself.

Labels are class ids, [batch] or [batch, 1], or one-hot rows [batch, classes].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fslcore import _backend as _backend  # isort: skip (before Keras)
import keras
import tensorflow as tf

from fslcore.labels import same_class, square_matrix

__all__ = ["MinEigenvalue", "classification_accuracy", "min_eigenvalue"]

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
    return _ACCURACIES[bool(ascending)]


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
        return tf.cast(tf.gather(correct, nearest, axis=1, batch_dims=1), tf.float32)

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
        self.least = self.add_variable(
            shape=(), initializer=keras.initializers.Constant(float("inf")), name="least"
        )

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds the Gram matrix of a batch; sample weights are ignored."""
        eigenvalue = tf.cast(min_eigenvalue(y_true, y_pred), self.least.dtype)
        least = tf.convert_to_tensor(self.least)
        # Once NaN, the result stays NaN.
        self.least.assign(tf.where(tf.math.is_nan(eigenvalue) | (eigenvalue < least), eigenvalue, least))

    def result(self) -> Tensor:
        """The least eigenvalue so far; infinity before the first batch."""
        return tf.convert_to_tensor(self.least)

    def reset_state(self) -> None:
        """Forgets all batches."""
        self.least.assign(float("inf"))
