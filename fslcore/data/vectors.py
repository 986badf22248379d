# SPDX-License-Identifier: MIT
"""The embeddings of a store inside a `tf.data.Dataset`: what a sampler gathers instead of images."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore.data.pixels import Pixels, Warp, constant

_LARGE = 2**26  # bytes: another copy of so many is worth avoiding


class Vectors(Pixels):
    """Embeddings as images of one pixel.

    Args:
        embeddings: float32 [N, D].

    Attributes:
        image_shape: [1, 1, D].
        array: float32 [N, 1, 1, D].
        rows: int64 [0].
        is_large: See `Pixels`.
    """

    can_be_turned = False

    def __init__(self, embeddings: npt.NDArray[np.float32]) -> None:
        self.image_shape = [1, 1, int(embeddings.shape[1])]
        self.array = constant(embeddings.reshape(-1, *self.image_shape))
        self.rows = constant(np.zeros(0, np.int64))
        self.is_large = 4 * math.prod(embeddings.shape) >= _LARGE

    def gather(self, rows: tf.Tensor, turns: tf.Tensor, warp: Warp | None = None) -> tf.Tensor:
        """Embeddings float32 [*rows.shape, 1, 1, D]; nothing is turned or warped."""
        del turns, warp
        return tf.gather(self.array, rows)
