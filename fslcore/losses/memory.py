# SPDX-License-Identifier: MIT
"""The cross-batch memory: a loss over pairs with the embeddings of earlier batches."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_int64, check_at_least
from fslcore.labels import labelled_embeddings, nan_if_wrong
from fslcore.losses.pairs import PairsLoss, References
from fslcore.pair_terms import NO_LABEL
from fslcore.replicas import refuse_replicas

Tensor = Any


@keras.saving.register_keras_serializable(package="fslcore")
class CrossBatchMemory(keras.layers.Layer):
    """A loss over pairs of each batch with itself and with the last `size` embeddings before it.

    Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020. `layer([embeddings, labels])` adds
    the loss to the model and returns the embeddings unchanged; `compile` needs no loss then. The memory is
    filled in training alone, gets no gradient, and is saved with the model.

    Args:
        loss: A loss of this package over pairs, such as `InfoNCELoss` or `BatchContrastiveLoss`.
        size: How many embeddings are remembered, at least the number of a batch.
        name: Name of the layer.

    Raises:
        ValueError: For a loss that does not compare pairs.
    """

    def __init__(self, loss: PairsLoss, size: int, name: str | None = None) -> None:
        super().__init__(name=name, dtype="float32")
        if isinstance(loss, dict):
            loss = keras.saving.deserialize_keras_object(loss)
        if not isinstance(loss, PairsLoss):
            raise ArgumentError("loss", "must be a loss over pairs, such as InfoNCELoss", loss)
        self.pairs_loss = loss
        self.size = as_int64("size", size)
        check_at_least("size", self.size, 1)

    def build(self, input_shape: Any) -> None:
        """Makes the memory, empty."""
        fixed = {"trainable": False}
        shape = (self.size, input_shape[0][-1])
        self.embeddings = self.add_weight(name="embeddings", shape=shape, initializer="zeros", **fixed)
        self.labels = self.add_weight(
            name="labels", shape=(self.size,), dtype="int64", initializer=_unlabelled, **fixed
        )
        self.next_row = self.add_weight(
            name="next_row", shape=(), dtype="int64", initializer="zeros", **fixed
        )

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        """Adds the loss of [embeddings, labels] and returns the embeddings."""
        refuse_replicas("the layer CrossBatchMemory")
        embeddings, labels = inputs
        rows, ids = labelled_embeddings(labels, embeddings, as_given=True)
        memory = References(tf.convert_to_tensor(self.embeddings), tf.convert_to_tensor(self.labels))
        loss = self.pairs_loss.with_references(ids, rows, memory)
        self.add_loss(nan_if_wrong(loss, labels))
        if training:
            self._remember(tf.stop_gradient(rows), ids, memory)
        return embeddings

    def _remember(self, rows: Tensor, ids: Tensor, memory: References) -> None:
        if rows.shape[0] is not None and rows.shape[0] > self.size:
            raise ArgumentError(
                "size",
                "must be at least the number of samples of a batch",
                described=f"{rows.shape[0]} samples",
            )
        count, message = tf.shape(rows, tf.int64)[0], "a batch must have at most `size` samples, received"
        with tf.control_dependencies([tf.debugging.Assert(count <= self.size, [message, count])]):
            first = tf.convert_to_tensor(self.next_row) + 0
        places = ((first + tf.range(count)) % self.size)[:, None]
        self.embeddings.assign(tf.tensor_scatter_nd_update(memory.embeddings, places, rows))
        self.labels.assign(tf.tensor_scatter_nd_update(memory.labels, places, ids))
        self.next_row.assign((first + count) % self.size)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the embeddings."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        loss = keras.saving.serialize_keras_object(self.pairs_loss)
        return {"loss": loss, "size": self.size, "name": self.name}


def _unlabelled(shape: Any, dtype: Any) -> Tensor:
    return tf.fill(shape, tf.constant(NO_LABEL, dtype))
