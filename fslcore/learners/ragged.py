# SPDX-License-Identifier: MIT
"""Support sets whose classes have different numbers of examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.arguments import ArgumentError


def padded(support: Any, counts: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The examples of each class, filled up with zeros, and which of them are there.

    Args:
        support: `[n_way, k_shot, D]` embeddings, of which the first `counts[c]` of class c count; or a
            `tf.RaggedTensor` `[n_way, None, D]`.
        counts: integers `[n_way]`, or None: all count.

    Returns:
        `[n_way, k_shot, D]`, and bool `[n_way, k_shot]` or None if all count.

    Raises:
        ArgumentError: `counts` is given for a ragged tensor, is not `[n_way]`, or a count is not from 1 to
            `k_shot`; in a graph, where the values are not known, `InvalidArgumentError` of TensorFlow.
    """
    if isinstance(support, tf.RaggedTensor):
        if counts is not None:
            raise ArgumentError("counts", "must be None for a ragged support, which has its own", counts)
        counts, support = support.row_lengths(), support.to_tensor()
    support = tf.convert_to_tensor(support)
    if counts is None:
        return support, None
    counts = tf.convert_to_tensor(counts)
    if not counts.dtype.is_integer or not counts.shape.is_compatible_with(support.shape[:1]):
        raise ArgumentError(
            "counts",
            f"must be integers, one per class [{support.shape[0]}]",
            counts,
            described=f"{counts.dtype.name} {counts.shape}",
        )
    counts = _checked(tf.cast(counts, tf.int64), tf.shape(support, tf.int64)[1])
    there = tf.sequence_mask(counts, tf.shape(support)[1])
    # What stands behind the examples, even NaN, must not reach a sum or a gradient.
    return tf.where(there[:, :, None], support, tf.zeros([], support.dtype)), there


def _checked(counts: tf.Tensor, k_shot: tf.Tensor) -> tf.Tensor:
    """The counts, or an error if one is not from 1 to `k_shot`."""
    requirement = "must be from 1 to the examples of a class"
    if tf.executing_eagerly():
        values, most = np.asarray(counts), int(k_shot)
        if values.size and not 1 <= values.min() <= values.max() <= most:
            raise ArgumentError(
                "counts",
                f"{requirement}, {most}",
                values,
                described=f"values from {values.min()} to {values.max()}",
            )
        return counts
    within = tf.reduce_all((counts >= 1) & (counts <= k_shot))
    with tf.control_dependencies([tf.debugging.Assert(within, [f"counts {requirement}, received", counts])]):
        return tf.identity(counts)
