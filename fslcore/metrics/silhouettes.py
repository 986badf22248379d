# SPDX-License-Identifier: MIT
"""The silhouettes of a batch."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import check_metric
from fslcore.labels import class_numbers, embeddings_of, nan_if_wrong
from fslcore.metrics.row_blocks import map_row_blocks
from fslcore.metrics.sets import DISTANCES
from fslcore.replicas import gather_batch
from fslcore.xla import refuse_missing_kernels

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
class Silhouette(keras.metrics.Mean):
    """How much nearer samples are to their own class than to the next one, from -1 to 1.

    Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis" (1987):
    (b - a) / max(a, b), with a the mean distance to the others of the class, and b the least mean distance
    to another class of the batch. It is 0 for a sample that is alone in its class, and in a batch of one
    class. A row that is not finite makes the value NaN. Batches count by their sizes; a block of 256 rows of
    the batch x batch matrix is held at a time.

    Args:
        metric: "euclidean", "sqeuclidean", "cosine", "manhattan" or "chebyshev".
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.

    Raises:
        ArgumentError: For an unknown metric.
    """

    def __init__(self, metric: str = "euclidean", name: str = "silhouette", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        check_metric(metric, DISTANCES)
        self.metric = metric

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds the labels and embeddings [batch, dim] of a batch; sample weights are ignored."""
        refuse_missing_kernels("the metric Silhouette")
        y_true, y_pred = gather_batch(y_true, y_pred)
        embeddings = embeddings_of(y_pred)
        ids = class_numbers(y_true, embeddings)
        super().update_state(nan_if_wrong(_silhouettes(embeddings, ids, self.metric), y_true))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "metric": self.metric}


def _silhouettes(embeddings: Tensor, ids: Tensor, metric: str) -> Tensor:
    batch = tf.shape(embeddings)[0]
    # A class is numbered by the place of its first sample among the sorted ones.
    number = tf.searchsorted(tf.sort(ids), ids)
    sizes = tf.math.unsorted_segment_sum(tf.ones_like(number, tf.float32), number, batch)

    def of_rows(rows: Tensor) -> Tensor:
        distances = ops.pairwise(tf.gather(embeddings, rows), embeddings, metric)
        distances = tf.where(rows[:, None] == tf.range(batch), 0.0, distances)
        sums = tf.transpose(tf.math.unsorted_segment_sum(tf.transpose(distances), number, batch))
        own = tf.gather(number, rows)
        is_own = own[:, None] == tf.range(batch)
        to_own = tf.math.divide_no_nan(
            tf.reduce_sum(tf.where(is_own, sums, 0.0), axis=1), tf.gather(sizes, own) - 1.0
        )
        is_other = ~is_own & (sizes > 0.0)
        to_next = tf.reduce_min(tf.where(is_other, sums / tf.maximum(sizes, 1.0), float("inf")), axis=1)
        has_both = (tf.gather(sizes, own) > 1.0) & tf.reduce_any(is_other, axis=1)
        ratio = tf.math.divide_no_nan(to_next - to_own, tf.maximum(to_own, to_next))
        return tf.where(has_both, ratio, 0.0)

    values = map_row_blocks(of_rows, batch)
    is_finite = tf.reduce_all(tf.math.is_finite(embeddings))
    return tf.where(is_finite, values, float("nan"))
