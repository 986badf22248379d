# SPDX-License-Identifier: MIT
"""The replicas of a `tf.distribute` strategy: what they share, and how what does not support them refuses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any


def count_replicas() -> int:
    """How many replicas of the current strategy train together; 1 without a strategy."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def refuse_replicas(what: str) -> None:
    """Refuses a strategy with several replicas, under which `what` would compute something else.

    Args:
        what: the subject of the sentence, such as a class.

    Raises:
        NotImplementedError: the current strategy has several replicas.
    """
    replicas = count_replicas()
    if replicas > 1:
        raise NotImplementedError(
            f"{what} does not support a tf.distribute strategy with several replicas, received one with "
            f"{replicas}: use one device"
        )


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all replicas, `[batch, ...]`, differentiable; outside of a replica those given.

    Every replica must call it. The gradient of a row is the sum of what the replicas ask of it.
    """
    context = tf.distribute.get_replica_context()
    if count_replicas() == 1 or context is None:
        return rows
    # A copy, as the gradient of the collective op would reach the tensor itself in one replica only.
    gathered = context.all_gather(tf.identity(rows), axis=0)
    return tf.ensure_shape(gathered, [None, *rows.shape[1:]])


def gather_batch(labels: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
    """Labels and predictions of the whole batch, as `gather_rows`; once, if all replicas have the same.

    A pipeline that is not sharded gives each replica the same samples. They are the batch of one device then:
    a sample and its copy are no pair.
    """
    if count_replicas() == 1 or tf.distribute.get_replica_context() is None:
        return labels, predictions
    labels, predictions = tf.convert_to_tensor(labels), tf.convert_to_tensor(predictions)
    counts = gather_rows(tf.shape(predictions)[:1])
    whole = gather_rows(labels), gather_rows(predictions)
    size = tf.reduce_sum(counts)
    place = tf.range(size) % tf.maximum(counts[0], 1)
    are_copies = [tf.reduce_all(tf.gather(rows, place) == rows) for rows in whole]
    once = tf.reduce_all(counts == counts[0]) & tf.reduce_all(are_copies)
    first = tf.where(once, counts[0], size)
    return whole[0][:first], whole[1][:first]


def share_of_replica(loss: Tensor) -> Tensor:
    """A loss divided by the number of replicas, over which Keras adds up gradients and reported losses."""
    replicas = count_replicas()
    return loss if replicas == 1 else loss / tf.cast(replicas, loss.dtype)
