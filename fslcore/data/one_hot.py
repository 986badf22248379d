# SPDX-License-Identifier: MIT
"""`get_dummies`: labels of a batch as one-hot rows over the classes of that batch."""

from __future__ import annotations

from typing import Any

from fslcore.arguments import ArgumentError


def get_dummies(labels: Any) -> tuple[Any, Any]:
    """One-hot rows over the classes that occur in a batch, in order of first appearance.

    The width changes from batch to batch, which is what the losses on a Gram matrix take: they use only
    whether two rows are equal. Works in eager code, in `tf.function` and in `tf.data.Dataset.map`.

    Args:
        labels: [B] (other shapes are flattened), integers or strings.

    Returns:
        A pair (one_hot float32 [B, C_batch], classes [C_batch] of the labels' dtype).

    Raises:
        ArgumentError: A label is NaN; InvalidArgumentError of TensorFlow inside a graph.

    Example:
        >>> one_hot, classes = get_dummies([7, 3, 7])
        >>> one_hot.numpy().tolist(), classes.numpy().tolist()
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [7, 3])
    """
    import tensorflow as tf

    flat = tf.reshape(labels, [-1])
    if flat.dtype.is_floating:
        missing = tf.reduce_any(tf.math.is_nan(flat))
        if not tf.executing_eagerly():
            message = "labels must not be missing, received NaN among"
            with tf.control_dependencies([tf.debugging.Assert(~missing, [message, flat])]):
                flat = tf.identity(flat)
        elif missing:
            raise ArgumentError("labels", "must not be missing", labels, described=f"{labels}, with NaN")
    classes, index = tf.unique(flat)
    return tf.one_hot(index, tf.size(classes), dtype=tf.float32), classes
