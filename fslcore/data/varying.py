# SPDX-License-Identifier: MIT
"""Images of a store gathered and augmented, inside a `tf.data.Dataset`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.augmentation import Augmentation, Chain, Warping
from fslcore.data.pixels import Pixels, Warp

_GREATEST = 255.0  # value of a byte, which is 1 in the images of a store


def check_augmentation(augment: Any, pixels: Pixels) -> None:
    """Raises ArgumentError unless it can vary images of a store."""
    if not isinstance(augment, Augmentation):
        raise ArgumentError("augment", "must be a layer of fslcore.augmentation or None", augment)
    if not pixels.can_be_turned:
        raise ArgumentError("augment", "must be None for embeddings, which are no images", augment)
    for layer in _layers(augment):
        if layer.value_range != (0.0, 1.0):
            raise ArgumentError(
                "augment",
                "must have the value_range (0, 1), that of the images of a store",
                described=f"value_range={layer.value_range}",
            )


def gather_varied(
    pixels: Pixels, rows: tf.Tensor, turns: tf.Tensor, augment: Augmentation, step: tf.Tensor
) -> tf.Tensor:
    """Images of a step; an affine transform that comes first is done in the pass that gathers them.

    Args:
        pixels: Where the images are.
        rows: Where they lie, int64 of any shape.
        turns: Quarter turns, for the leading axes of `rows`.
        augment: What varies them.
        step: int64, of which and of the augmentation's seed the result is a function.

    Returns:
        float32 [*rows.shape, height, width, channels].
    """
    first, *others = layers = _layers(augment)
    if isinstance(first, Warping):
        height, width, _ = pixels.image_shape
        drawn = first.drawn(tf.size(rows), first.sizes(height, width), step)
        transforms = tf.reshape(drawn, tf.concat([tf.shape(rows), [6]], 0))
        warp = Warp(transforms, first.size, first.fill, first.fill_value * _GREATEST)
        images = pixels.gather(rows, turns, warp)
    else:
        images, others = pixels.gather(rows, turns), layers
    for layer in others:
        images = layer.vary(images, step)
    return tf.ensure_shape(images, [*rows.shape, *augment.compute_output_shape(tuple(pixels.image_shape))])


def _layers(augment: Augmentation) -> list[Augmentation]:
    """The augmentations, in their order."""
    if isinstance(augment, Chain):
        return [inner for layer in augment.layers for inner in _layers(layer)]
    return [augment]
