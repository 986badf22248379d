# SPDX-License-Identifier: MIT
"""Dropout for feature maps."""

from __future__ import annotations

from typing import Any

import keras

from fslcore.arguments import ArgumentError, as_float, check_at_least

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="fslcore")
class DropBlock(keras.Layer):
    """Sets squares of pixels of each channel to 0 in training, and scales the others up.

    Ghiasi, Lin and Le, "DropBlock: A regularization method for convolutional networks" (2018), algorithm 1:
    a pixel alone can be guessed from its neighbours, so that plain dropout teaches a convolution little.
    Squares lie inside the map, which a map smaller than the square cuts it down to.

    Args:
        rate: Share of the pixels that are to be 0, about; at least 0 and below 1.
        size: Height and width of a square.
        seed: Of the layer's generator; None: one from Keras' global generator.
        **kwargs: For `keras.Layer`.

    Raises:
        ArgumentError: An argument is out of range, or inputs are not [batch, height, width, channels] of
            known height and width.
    """

    def __init__(self, rate: float, size: int = 5, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= as_float("rate", rate) < 1:
            raise ArgumentError("rate", "must be at least 0 and below 1", rate)
        check_at_least("size", size, 1)
        self.rate, self.size, self.seed = rate, size, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any) -> None:
        """Checks the shape, and computes how rare the centres of squares are."""
        if len(input_shape) != 4 or None in input_shape[1:3]:
            raise ArgumentError(
                "inputs",
                "must be [batch, height, width, channels] with known height and width",
                described=f"shape {tuple(input_shape)}",
            )
        height, width = input_shape[1:3]
        self.square = min(self.size, height), min(self.size, width)
        places = (height - self.square[0] + 1) * (width - self.square[1] + 1)
        self.share = min(1.0, self.rate * height * width / (self.square[0] * self.square[1] * places))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """The inputs, or in training the inputs with squares of 0."""
        if not training or self.rate == 0:
            return inputs
        ops = keras.ops
        batch, (height, width, channels) = ops.shape(inputs)[0], inputs.shape[1:]
        high, wide = self.square
        places = (batch, height - high + 1, width - wide + 1, channels)
        drawn = keras.random.uniform(places, dtype="float32", seed=self.seed_generator)
        corners = ops.cast(drawn < self.share, "float32")
        corners = ops.pad(corners, ((0, 0), (high - 1, high - 1), (wide - 1, wide - 1), (0, 0)))
        kept = 1.0 - ops.max_pool(corners, (high, wide), strides=1, padding="valid")
        # Of the whole batch, as in the paper; 1 where nothing at all is kept.
        scale = ops.cast(ops.size(kept), "float32") / ops.maximum(ops.sum(kept), 1.0)
        return inputs * ops.cast(kept * scale, inputs.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "rate": self.rate, "size": self.size, "seed": self.seed}
