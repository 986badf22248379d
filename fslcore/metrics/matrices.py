# SPDX-License-Identifier: MIT
"""Metrics of a matrix [batch, batch] that compares a batch with itself: those of keras-fsl, and asymmetry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool, as_float
from fslcore.labels import class_numbers, nan_if_wrong, same_class, square_matrix
from fslcore.replicas import gather_rows

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


def mean_score_classification_accuracy(ascending: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
    """The accuracy of the class with the best mean score: leave-one-out, without a sample's own score.

    Args:
        ascending: As for `classification_accuracy`.

    Returns:
        A function of (y_true, y_pred [batch, batch]) that returns float32 [batch]: 1 where the class of the
        sample has the best mean score among all classes of the batch. Of equal classes the one with the least
        id counts, for one-hot rows with the first column; a class with NaN among its scores is never best. A
        sample that is alone in its class counts as 0.
    """
    return _MEAN_ACCURACIES[as_bool("ascending", ascending)]


def _mean_score_accuracy(name: str, sign: float) -> Callable[[Tensor, Tensor], Tensor]:
    @keras.saving.register_keras_serializable(package="fslcore", name=name)
    def mean_score_classification_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
        scores = sign * square_matrix(y_pred)
        ids = class_numbers(y_true, scores)
        # A class is numbered by the place of its first sample among the sorted ones.
        number = tf.searchsorted(tf.sort(ids), ids)
        batch = tf.shape(scores)[0]
        is_self = tf.eye(batch, dtype=tf.bool)
        # One segment more: an empty batch has a class too, which is never best.
        sums, counts = (
            tf.math.unsorted_segment_sum(tf.where(is_self, 0.0, of_others), number, batch + 1)
            for of_others in (tf.transpose(scores), tf.ones_like(scores))
        )
        means = sums / counts  # NaN for a class without others; [class, sample]
        ranking = tf.where(tf.math.is_nan(means), -float("inf"), means)
        best = tf.argmax(ranking, axis=0, output_type=tf.int32)
        found = (best == number) & (tf.reduce_max(ranking, axis=0) > -float("inf"))
        return nan_if_wrong(tf.cast(found, tf.float32), y_true)

    return mean_score_classification_accuracy


_MEAN_ACCURACIES = {
    False: _mean_score_accuracy("mean_score_classification_accuracy", 1.0),
    True: _mean_score_accuracy("mean_score_classification_accuracy_ascending", -1.0),
}


@keras.saving.register_keras_serializable(package="fslcore")
def same_image_score(y_true: Tensor, y_pred: Tensor) -> Tensor:  # noqa: ARG001
    """The scores of the samples with themselves, which a kernel with a bias need not have at 1 or 0.

    Args:
        y_true: Ignored.
        y_pred: [batch, batch].

    Returns:
        float32 [batch]; Keras takes the mean over all samples.
    """
    return tf.linalg.diag_part(square_matrix(y_pred))


def accuracy(margin: float = 0.5) -> Callable[[Tensor, Tensor], Tensor]:
    """The share of pairs whose score is less than `margin` from its target: 1 within a class, 0 between two.

    Args:
        margin: Above 0. With 0.5, scores of one half and above mean "the same class", as a classifier has it.
            (The default of keras-fsl, 0, is the accuracy 0 for every matrix.)

    Returns:
        A function of (y_true, y_pred [batch, batch]) that returns float32 [batch]: the share among the pairs
        of a sample with the others. A sample is no pair with itself; alone in its batch it counts as 0.
    """
    if as_float("margin", margin) <= 0:
        raise ArgumentError("margin", "must be above 0, as no distance is below it", margin)
    return _PairAccuracy(float(margin))


@keras.saving.register_keras_serializable(package="fslcore", name="accuracy_of_pairs")
class _PairAccuracy:
    """`accuracy` with its margin, in a form that Keras saves."""

    __name__ = "accuracy"

    def __init__(self, margin: float) -> None:
        self.margin = margin

    def __call__(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The shares [batch]."""
        scores = square_matrix(y_pred)
        same = same_class(y_true, scores)
        is_right = tf.abs(tf.cast(same, tf.float32) - scores) < self.margin
        is_right &= ~tf.eye(tf.shape(scores)[0], dtype=tf.bool)
        others = tf.cast(tf.shape(scores)[0] - 1, tf.float32)
        right = tf.math.count_nonzero(is_right, axis=1, dtype=tf.float32)
        return nan_if_wrong(tf.math.divide_no_nan(right, others), y_true)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"margin": self.margin}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _PairAccuracy:
        """The function that `get_config` describes."""
        return cls(**config)


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
def asymmetry(y_true: Tensor, y_pred: Tensor) -> Tensor:  # noqa: ARG001
    """The greatest difference |K(a, b) - K(b, a)| of a Gram matrix: 0 for a symmetric kernel.

    `min_eigenvalue` is that of the symmetric part, and says little about a matrix of which this is large.

    Args:
        y_true: Ignored.
        y_pred: [batch, batch].

    Returns:
        float32 scalar; NaN if a difference is NaN, 0 for an empty matrix. Keras averages it over batches;
        `MaxAsymmetry` keeps the greatest.
    """
    gram = square_matrix(y_pred)
    difference = tf.abs(gram - tf.transpose(gram))
    greatest = tf.reduce_max(tf.pad(difference, [[0, 1], [0, 1]]))
    return tf.where(tf.reduce_any(tf.math.is_nan(difference)), float("nan"), greatest)


class _Extreme(keras.metrics.Metric):
    """The least value of a function over all batches. Once NaN, it stays NaN."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], name: str, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self._function = function
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
        of_replicas = gather_rows(self._function(y_true, y_pred)[None])
        value = tf.reduce_min(of_replicas) + 0.0 * tf.reduce_sum(
            tf.where(tf.math.is_nan(of_replicas), of_replicas, 0.0)
        )
        value = tf.cast(value, self.least.dtype)
        least = tf.convert_to_tensor(self.least)
        self.least.assign(tf.where(tf.math.is_nan(value) | (value < least), value, least))

    def result(self) -> Tensor:
        """The least value so far; infinity before the first batch."""
        return tf.convert_to_tensor(self.least)

    def reset_state(self) -> None:
        """Forgets all batches."""
        self.least.assign(float("inf"))


@keras.saving.register_keras_serializable(package="fslcore")
class MinEigenvalue(_Extreme):
    """The least `min_eigenvalue` over all batches.

    Args:
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.
    """

    def __init__(self, name: str = "min_eigenvalue", dtype: Any = None) -> None:
        super().__init__(min_eigenvalue, name, dtype)


@keras.saving.register_keras_serializable(package="fslcore")
class MaxAsymmetry(_Extreme):
    """The greatest `asymmetry` over all batches; 0 before the first one.

    Args:
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.
    """

    def __init__(self, name: str = "max_asymmetry", dtype: Any = None) -> None:
        super().__init__(lambda y_true, y_pred: -asymmetry(y_true, y_pred), name, dtype)

    def result(self) -> Tensor:
        """The greatest asymmetry so far."""
        least = super().result()
        return tf.where(least == float("inf"), 0.0, -least)
