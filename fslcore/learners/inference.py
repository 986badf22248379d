# SPDX-License-Identifier: MIT
"""Encoders as graphs, in batches of bounded size: what `embed` costs in memory does not depend on the images.

An eager Keras model keeps every activation until it returns; a graph frees each as soon as the next layer has
read it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# Pixels of a batch: 20 images of 224 x 224, where a layer of 64 channels takes 257 MB. All that were embedded
# in one call of 256 images of up to 64 x 64 still are.
_PIXELS = 2**20


def images_at_a_time(image_shape: Any, encoder: keras.Layer | None = None) -> int:
    """How many images `[H, W, C]` of this shape are encoded in one call, at least 1.

    An encoder that enlarges images says itself how many it takes.
    """
    layers = [] if encoder is None else encoder._flatten_layers()
    own = [getattr(layer, "images_at_a_time", None) for layer in layers]
    if any(own):
        return min(filter(None, own))
    pixels = math.prod(image_shape[:2])
    count = max(1, _PIXELS // max(1, pixels))
    # Whole blocks of rows: matrix products round the rows of a last, smaller block in another way.
    return count - count % 16 if count > 16 else count


class GraphEncoder:
    """A function of images and an encoder's variables, traced once for each shape and dtype of an image.

    Threads may call it side by side, the first time too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traced: dict[Any, Any] = {}
        self._variables: tuple[int, ...] = ()

    def __call__(
        self, encoder: keras.Layer, function: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, name: str
    ) -> tf.Tensor:
        """The function of the images, as a graph.

        Args:
            encoder: what the function calls; a trace serves as long as it has the same variables.
            function: images `[B, H, W, C]` -> `[B, D]`.
            images: an eager tensor `[B, H, W, C]`.
            name: of the function, among those that are called with this encoder.
        """
        spec = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
        key = (name, spec, encoder.dtype_policy.name)
        variables = (id(encoder), *map(id, encoder.variables))
        with self._lock:
            if self._variables != variables:
                self._traced.clear()
                self._variables = variables
            if key not in self._traced:
                self._traced[key] = tf.function(function, autograph=False).get_concrete_function(spec)
            traced = self._traced[key]
        return traced(images)
