# SPDX-License-Identifier: MIT
"""Metrics of the order of the other samples of a batch, seen from each of its embeddings.

A sample's own class is what it should find; itself it never finds. A sample that is alone in its class in a
batch has nothing to find, and does not count: the metrics are means over all others, of all batches. Of
equally near samples the first comes first, and one at a distance of NaN is never right.

A batch has few wrong answers, so that these are higher than on a whole set: `retrieval` measures that.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import SEARCH_METRICS, as_int64, check_at_least, check_metric
from fslcore.labels import class_numbers, embeddings_of, nan_if_wrong
from fslcore.metrics.row_blocks import map_row_blocks
from fslcore.replicas import gather_batch
from fslcore.xla import refuse_missing_kernels

Tensor = Any


class _OfRanks(keras.metrics.Mean):
    """The mean over all samples that have another one of their class."""

    def __init__(self, metric: str, name: str, dtype: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        check_metric(metric, SEARCH_METRICS)
        self.metric = metric

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:  # noqa: ARG002
        """Adds the labels and embeddings [batch, dim] of a batch; sample weights are ignored."""
        refuse_missing_kernels(f"the metric {type(self).__name__}")
        y_true, y_pred = gather_batch(y_true, y_pred)
        embeddings = embeddings_of(y_pred)
        ids = class_numbers(y_true, embeddings)
        others = _others_of_class(ids)
        values = nan_if_wrong(self._values(embeddings, ids, others), y_true)
        super().update_state(values, tf.cast(others > 0, tf.float32))

    def _values(self, embeddings: Tensor, ids: Tensor, others: Tensor) -> Tensor:
        """float32 [batch], of embeddings [batch, dim], class ids [batch] and the sizes of classes [batch]."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "metric": self.metric}


class _AtK(_OfRanks):
    """A metric of the k nearest other samples."""

    def __init__(self, k: int, metric: str, name: str | None, dtype: Any) -> None:
        check_at_least("k", k, 1)
        self.k = as_int64("k", k)
        super().__init__(metric, f"{self._prefix}_at_{k}" if name is None else name, dtype)

    _prefix = ""

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "k": self.k}


@keras.saving.register_keras_serializable(package="fslcore")
class RecallAtK(_AtK):
    """The share of the samples that have one of their class among the k nearest others.

    Jegou et al., "Product quantization for nearest neighbor search" (2011), as metric learning counts it. The
    batch x batch matrix is not formed.

    Args:
        k: How many of the nearest others are looked at, at least 1.
        metric: One of `fslcore.kernels.SEARCH_METRICS`.
        name: Name of the metric; None: "recall_at_" and k.
        dtype: As for `keras.metrics.Metric`.

    Raises:
        ArgumentError: For an unknown metric, or k below 1.
    """

    _prefix = "recall"

    def __init__(
        self, k: int = 1, metric: str = "sqeuclidean", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(k, metric, name, dtype)

    def _values(self, embeddings: Tensor, ids: Tensor, others: Tensor) -> Tensor:  # noqa: ARG002
        matches = _matches_of_nearest(embeddings, ids, self.k, self.metric)
        return tf.cast(tf.reduce_any(matches, axis=1), tf.float32)


@keras.saving.register_keras_serializable(package="fslcore")
class PrecisionAtK(_AtK):
    """The share of its own class among the k nearest others of a sample.

    A class with fewer than k others cannot reach 1: `RPrecision` looks at as many as there are. The batch x
    batch matrix is not formed.

    Args:
        k: As for `RecallAtK`; the share is that of k, in a smaller batch too.
        metric: As for `RecallAtK`.
        name: Name of the metric; None: "precision_at_" and k.
        dtype: As for `keras.metrics.Metric`.

    Raises:
        ArgumentError: As for `RecallAtK`.
    """

    _prefix = "precision"

    def __init__(
        self, k: int = 1, metric: str = "sqeuclidean", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(k, metric, name, dtype)

    def _values(self, embeddings: Tensor, ids: Tensor, others: Tensor) -> Tensor:  # noqa: ARG002
        matches = _matches_of_nearest(embeddings, ids, self.k, self.metric)
        return tf.math.count_nonzero(matches, axis=1, dtype=tf.float32) / self.k


@keras.saving.register_keras_serializable(package="fslcore")
class RPrecision(_OfRanks):
    """The share of its own class among the R nearest others of a sample, whose class has R others.

    Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (2020), section 3.3. A block of 256 rows of
    the batch x batch matrix is held at a time.

    Args:
        metric: As for `RecallAtK`.
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.

    Raises:
        ArgumentError: For an unknown metric.
    """

    def __init__(self, metric: str = "sqeuclidean", name: str = "r_precision", dtype: Any = None) -> None:
        super().__init__(metric, name, dtype)

    def _values(self, embeddings: Tensor, ids: Tensor, others: Tensor) -> Tensor:
        def of_rows(rows: Tensor) -> Tensor:
            matches = _matches_of_class_size(rows, embeddings, ids, others, self.metric)
            of_class = tf.cast(tf.gather(others, rows), tf.float32)
            return tf.math.divide_no_nan(tf.reduce_sum(matches, axis=1), of_class)

        return map_row_blocks(of_rows, tf.shape(embeddings)[0])


@keras.saving.register_keras_serializable(package="fslcore")
class MeanAveragePrecisionAtR(_OfRanks):
    """MAP@R: the mean of the precision at each right one of the R nearest others, and of 0 at each wrong one.

    Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (2020), equations 2 and 3: it is 1 only if
    all of a class come before all others, and says more about the embeddings than recall does. A block of 256
    rows of the batch x batch matrix is held at a time.

    Args:
        metric: As for `RecallAtK`.
        name: Name of the metric.
        dtype: As for `keras.metrics.Metric`.

    Raises:
        ArgumentError: For an unknown metric.
    """

    def __init__(self, metric: str = "sqeuclidean", name: str = "map_at_r", dtype: Any = None) -> None:
        super().__init__(metric, name, dtype)

    def _values(self, embeddings: Tensor, ids: Tensor, others: Tensor) -> Tensor:
        def of_rows(rows: Tensor) -> Tensor:
            matches = _matches_of_class_size(rows, embeddings, ids, others, self.metric)
            place = tf.range(1.0, tf.cast(tf.shape(matches)[1], tf.float32) + 1.0)
            precision = tf.cumsum(matches, axis=1) / place
            of_class = tf.cast(tf.gather(others, rows), tf.float32)
            return tf.math.divide_no_nan(tf.reduce_sum(matches * precision, axis=1), of_class)

        return map_row_blocks(of_rows, tf.shape(embeddings)[0])


def _others_of_class(ids: Tensor) -> Tensor:
    """How many other samples each one's class has, int32 [batch]."""
    ascending = tf.sort(ids)
    return tf.searchsorted(ascending, ids, side="right") - tf.searchsorted(ascending, ids) - 1


def _matches_of_nearest(embeddings: Tensor, ids: Tensor, k: int, metric: str) -> Tensor:
    """Which of the k nearest others of each sample are of its class, nearest first; bool [batch, k]."""
    # One more than k, as a sample finds itself. As many rows of NaN, which come last, fill small batches up.
    rows = tf.pad(embeddings, [[0, k + 1], [0, 0]], constant_values=float("nan"))
    found = ops.nearest(embeddings, rows, k + 1, metric)
    indices, batch = found.indices, tf.shape(embeddings)[0]
    is_self = indices == tf.range(batch)[:, None]
    # What comes after the sample itself moves up one place; copies of it with lower indices may come before.
    after = tf.cumsum(tf.cast(is_self, tf.int32), axis=1)[:, :k] > 0
    of_class = tf.gather(tf.pad(ids, [[0, k + 1]]), indices) == ids[:, None]
    of_class &= ~tf.math.is_nan(found.values)
    return tf.where(after, of_class[:, 1:], of_class[:, :k])


def _matches_of_class_size(
    rows: Tensor, embeddings: Tensor, ids: Tensor, others: Tensor, metric: str
) -> Tensor:
    """Which of the R nearest others are of the same class, nearest first: 0 or 1, float32 [rows, batch].

    R is the number of others in the class of each row; 0 follows after R.
    """
    values = ops.pairwise(tf.gather(embeddings, rows), embeddings, metric)
    values = -values if metric == "dot" else values
    candidate = ~tf.math.is_nan(values) & (rows[:, None] != tf.range(tf.shape(embeddings)[0]))
    # What is infinitely far still comes before NaN.
    keys = tf.where(candidate, tf.clip_by_value(values, tf.float32.min, tf.float32.max), float("inf"))
    order = tf.math.top_k(-keys, tf.shape(keys)[1]).indices
    match = candidate & (tf.gather(ids, rows)[:, None] == ids)
    near = tf.range(tf.shape(keys)[1]) < tf.gather(others, rows)[:, None]
    return tf.cast(tf.gather(match, order, axis=1, batch_dims=1) & near, tf.float32)
