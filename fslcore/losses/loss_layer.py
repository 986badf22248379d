# SPDX-License-Identifier: MIT
"""The base of losses with weights of their own, as layers."""

from __future__ import annotations

from typing import Any

import keras

Tensor = Any


class LossLayer(keras.layers.Layer):
    """A loss with trainable weights, as a layer: `layer([embeddings, labels])`.

    It adds its loss to the model and returns the embeddings unchanged, so that its weights are trained and
    saved with the model; `compile` needs no loss then.

    Args:
        name: Name of the layer.
    """

    def __init__(self, name: str | None) -> None:
        super().__init__(name=name, dtype="float32")

    def call(self, inputs: Any) -> Tensor:
        """Adds the loss of [embeddings, labels] and returns the embeddings."""
        embeddings, labels = inputs
        self.add_loss(self.loss(labels, embeddings))
        return embeddings

    def loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the embeddings."""
        return input_shape[0]
