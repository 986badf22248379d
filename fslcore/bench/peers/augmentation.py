# SPDX-License-Identifier: MIT
"""Affine augmentation by the layers of Keras, and by one call of TensorFlow's op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fslcore.bench.comparison import Entry

# Of `RandomAffine`; those of Keras' layers are the same.
RANGES: dict[str, Any] = {
    "rotation": 10.0,
    "shear_x": 0.1,
    "zoom_x": (0.9, 1.1),
    "zoom_y": (0.9, 1.1),
    "shift_x": 0.1,
    "shift_y": 0.1,
}


def peer_entries(store: Any, rows: Any) -> dict[str, Entry]:
    """Keras' four layers, each with an interpolation of its own; and the op that they call, once."""
    images, indices = tf.constant(store), tf.constant(rows)
    same = {"interpolation": "bilinear", "fill_mode": "constant"}
    layers = [
        keras.layers.RandomShear(x_factor=0.1, **same),
        keras.layers.RandomZoom(0.1, 0.1, **same),
        keras.layers.RandomRotation(10 / 360, **same),
        keras.layers.RandomTranslation(0.1, 0.1, **same),
    ]
    transform = np.array([0.98, -0.17, 2.5, 0.17, 0.98, -2.5, 0, 0], np.float32)
    transforms = tf.constant(np.tile(transform, (len(rows), 1)))

    def gathered() -> Any:
        return tf.cast(tf.gather(images, indices), tf.float32) / 255.0

    def by_layers() -> Any:
        batch = gathered()
        for layer in layers:
            batch = layer(batch, training=True)
        return batch

    def by_op() -> Any:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=gathered(),
            transforms=transforms,
            output_shape=store.shape[1:3],
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
            fill_value=0.0,
        )

    return {
        "Keras, four layers": Entry(_graph(by_layers)),
        "TensorFlow's op, one given transform": Entry(_graph(by_op)),
    }


def _graph(function: Callable[[], Any]) -> Callable[[], list[Any]]:
    traced = tf.function(function, autograph=False)
    return lambda: [traced()]
