# SPDX-License-Identifier: MIT
"""The kernel on every pair of a batch."""

from __future__ import annotations

from typing import Any

import keras

from fslcore.layers.pairwise import PairwiseLayer

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="fslcore")
class GramMatrix(PairwiseLayer):
    """The kernel on every ordered pair of a batch: [batch, dim] to [batch, batch].

    Args:
        kernel: See `fslcore.layers`.
        pairs_per_block: How many pairs a kernel layer of your own receives at most in one call.
        **kwargs: For `keras.Layer`.

    Example:
        >>> import fslcore as fsl
        >>> model = keras.Sequential([fsl.encoders.conv4(), GramMatrix("DenseSigmoid")])
        >>> model.output_shape
        (None, None)
    """

    def __init__(self, kernel: Any = "DenseSigmoid", pairs_per_block: int = 4096, **kwargs: Any) -> None:
        super().__init__(kernel, pairs_per_block, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Builds the kernel for embeddings of the shape (batch, dim)."""
        self.build_kernel(input_shape)

    def call(self, embeddings: Tensor, training: bool | None = None) -> Tensor:
        """Scores [batch, batch] of embeddings [batch, dim]."""
        return self.pairwise(embeddings, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, batch)."""
        return (input_shape[0], input_shape[0])
