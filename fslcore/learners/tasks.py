# SPDX-License-Identifier: MIT
"""Tasks as tensors: images with labels, what is measured on them, and a loop over several."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.threads import parallel_tasks


def flat_with_labels(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Images `[n_way, n, H, W, C]` as `[n_way * n, H, W, C]`, and their classes int32 `[n_way * n]`."""
    labels = tf.repeat(tf.range(images.shape[0]), tf.shape(images)[1])
    return tf.reshape(images, (-1, *images.shape[2:])), labels


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of the softmax of logits `[B, n_way]` for labels `[B]`."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Share of the rows whose largest logit is that of their label."""
    right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
    return tf.reduce_mean(tf.cast(right, tf.float32))


def over_tasks(body: Any, n_tasks: int, carry: Any) -> Any:
    """Runs `carry = body(task, *carry)` for task 0 to n_tasks - 1.

    Tasks run side by side as far as `body` takes no more from `carry` than the sums it adds to.
    """
    return tf.while_loop(
        lambda task, *_: task < n_tasks,
        lambda task, *carry: (task + 1, *body(task, *carry)),
        (0, *carry),
        parallel_iterations=parallel_tasks(),
        maximum_iterations=n_tasks,
    )[1:]


def episode_seeds(seed: int, first: int, count: int) -> tf.Tensor:
    """Two numbers for each of the episodes first, first + 1, ... to draw its noise from: int64 [count, 2]."""
    episodes = tf.range(first, first + count, dtype=tf.int64)
    return tf.stack([tf.fill([count], tf.cast(seed, tf.int64)), episodes], axis=1)
