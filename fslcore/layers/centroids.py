# SPDX-License-Identifier: MIT
"""The kernel on every sample of a batch and the mean of every class."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.layers.pairwise import PairwiseLayer

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="fslcore")
class CentroidsMatrix(PairwiseLayer):
    """The kernel on every sample and every class mean of a batch: [batch, classes].

    With kernel="sqeuclidean" the scores are the distances of prototypical networks (Snell, Swersky and Zemel,
    2017). Each sample is part of the mean of its own class: to score queries against a support set use
    `pairwise` or `fslcore.Prototypical`. A class without samples has its mean at zero.

    Args:
        kernel: See `fslcore.layers`.
        activation: Applied to the matrix, as for `keras.layers.Activation`; for instance "softmax".
        pairs_per_block: How many pairs a kernel layer of your own receives at most in one call.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: If it is called on anything but a list of embeddings [batch, dim] and one-hot labels
            [batch, classes].
    """

    def __init__(
        self, kernel: Any = "DenseSigmoid", activation: Any = None, pairs_per_block: int = 4096, **kwargs: Any
    ) -> None:
        super().__init__(kernel, pairs_per_block, **kwargs)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: list[Shape]) -> None:
        """Builds the kernel for inputs of the shapes [(batch, dim), (batch, classes)]."""
        if len(input_shape) != 2 or not all(isinstance(shape, (tuple, list)) for shape in input_shape):
            raise ValueError(
                "inputs must be a list [embeddings, labels_one_hot], "
                f"received something of the shape {input_shape}"
            )
        if len(input_shape[1]) != 2:
            raise ValueError(f"labels_one_hot must be [batch, classes], received shape {input_shape[1]}")
        self.build_kernel(input_shape[0])

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        """Scores [batch, classes] of [embeddings, labels_one_hot]."""
        return self.activation(self.pairwise(tf.cast(inputs[0], tf.float32), class_means(*inputs), training))

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """(batch, classes)."""
        return (input_shape[0][0], input_shape[1][1])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


def class_means(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The mean of each class, float32 [classes, dim]; zeros for one without samples.

    Args:
        embeddings: [batch, dim].
        labels: [batch, classes], one-hot rows.
    """
    embeddings, labels = (tf.cast(tensor, tf.float32) for tensor in (embeddings, labels))
    share = tf.math.divide_no_nan(labels, tf.reduce_sum(labels, axis=0))
    return tf.matmul(share, embeddings, transpose_a=True)
