# SPDX-License-Identifier: MIT
"""What a batch can teach, and whether embeddings have collapsed: what a loss alone does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import as_float, check_mining
from fslcore.labels import embeddings_of, same_class
from fslcore.losses.mining import check_distance_metric, distances_of_triplets
from fslcore.replicas import gather_batch

Tensor = Any

# Below this share of the mean square, what embeddings differ by is rounding.
_ROUNDING = 1e-12


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


@keras.saving.register_keras_serializable(package="fslcore")
class Collapse(keras.metrics.Mean):
    """How far all embeddings are the same: |mean x|^2 / mean |x|^2 of a batch, from 0 to 1.

    It is 1 if all rows are equal, which a triplet loss takes for the margin and a contrastive one for a
    minimum, and about 1 / batch for rows in all directions; the embeddings of a last ReLU have 0.5 and more
    without harm. Batches count by their sizes. Rows of zeros are equal rows. Under a `tf.distribute` strategy
    the batch is the whole one.

    Args:
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.
    """

    def __init__(self, name: str = "collapse", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds the embeddings [batch, dim] of a batch; labels and sample weights are ignored."""
        _, y_pred = gather_batch(y_true, y_pred)
        x = embeddings_of(y_pred)
        square = tf.reduce_mean(tf.reduce_sum(x * x, axis=1))
        of_mean = tf.reduce_sum(tf.reduce_mean(x, axis=0) ** 2)
        _add_mean(self, tf.where(square == 0.0, 1.0, of_mean / square), x)


@keras.saving.register_keras_serializable(package="fslcore")
class EffectiveDimensions(keras.metrics.Mean):
    """How many directions the embeddings of a batch use: the participation ratio of their covariance.

    (sum of eigenvalues)^2 / sum of their squares: d for embeddings that vary alike in d directions, 1 for
    those on a line, 0 for a batch of equal rows; below the batch size and at most dim. Embeddings that use
    few of their dimensions have collapsed in the others: Jing et al., "Understanding Dimensional Collapse in
    Contrastive Self-supervised Learning" (2022). Batches count by their sizes. Under a `tf.distribute`
    strategy the batch is the whole one.

    Args:
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.
    """

    def __init__(self, name: str = "effective_dimensions", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds the embeddings [batch, dim] of a batch; labels and sample weights are ignored."""
        _, y_pred = gather_batch(y_true, y_pred)
        x = embeddings_of(y_pred)
        centred = x - tf.reduce_mean(x, axis=0)
        total = tf.reduce_sum(centred**2)
        unit = centred * tf.math.rsqrt(total)
        # The squares of both products have the same sum: take the smaller one.
        batch, dim = tf.shape(x)[0], tf.shape(x)[1]
        product = tf.cond(
            batch < dim,
            lambda: tf.matmul(unit, unit, transpose_b=True),
            lambda: tf.matmul(unit, unit, transpose_a=True),
        )
        is_one = total <= _ROUNDING * tf.reduce_sum(x * x)
        _add_mean(self, tf.where(is_one, 0.0, 1.0 / tf.reduce_sum(product**2)), x)


def _add_mean(metric: keras.metrics.Mean, value: Tensor, batch: Tensor) -> None:
    """Adds a value that counts as often as a batch has rows."""
    count = tf.shape(batch)[0]
    value = tf.where(count == 0, 0.0, value)
    keras.metrics.Mean.update_state(metric, value, tf.cast(count, tf.float32))
