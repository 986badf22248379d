# SPDX-License-Identifier: MIT
"""The embeddings of a store inside a `tf.data.Dataset`: what a sampler gathers instead of images."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore.data.pixels import Pixels

_LARGE = 2**26  # bytes: another copy of so many is worth avoiding


class Vectors(Pixels):
    """Embeddings as images of one pixel.

    Args:
        embeddings: float32 [N, D].

    Attributes:
        image_shape: [1, 1, D].
        is_large: See `Pixels`.
    """

    can_be_turned = False

    def __init__(self, embeddings: npt.NDArray[np.float32]) -> None:
        with tf.init_scope(), tf.device("CPU:0"):
            self._rows = tf.constant(embeddings)
        self.image_shape = [1, 1, int(embeddings.shape[1])]
        self.is_large = 4 * math.prod(embeddings.shape) >= _LARGE

    def gather(self, rows: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
        """Embeddings float32 [*rows.shape, 1, 1, D]; nothing is turned."""
        del turns
        found = tf.gather(self._rows, rows)
        return tf.reshape(found, [*rows.shape, *self.image_shape])
