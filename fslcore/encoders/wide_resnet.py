# SPDX-License-Identifier: MIT
"""Wide residual networks, the widest of the usual encoders of the few-shot literature."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fslcore.arguments import ArgumentError, as_float, check_at_least, check_image_shape
from fslcore.layers import FusedBatchNormalization

Shape = tuple[int, int, int]

_LEAST_SIZE = 4  # twice halved leaves one pixel
_MOMENTUM = 0.9  # as in resnet12


def wide_resnet(
    input_shape: Shape = (80, 80, 3), depth: int = 28, width: int = 10, dropout: float = 0.0
) -> keras.Model:
    """WRN-28-10: dim 640, whatever the size of the images.

    Zagoruyko and Komodakis, "Wide Residual Networks" (2016), table 1, as an encoder as in Mangla et al.,
    "Charting the Right Manifold: Manifold Mixup for Few-shot Learning" (2020), on 80 x 80 pixels: a
    convolution of 16 filters, three groups of (depth - 4) / 6 blocks with 16, 32 and 64 times `width`
    filters, of which the last two halve the image, batch normalisation, ReLU and the mean over the pixels.
    A block is two times batch normalisation, ReLU and a 3 x 3 convolution, and a sum; no convolution has a
    bias. 36,472,784 trainable parameters on 3 channels.

    Args:
        input_shape: (height, width, channels), at least 4 pixels high and wide.
        depth: Number of convolutions, shortcuts left out: 10, 16, 22, 28, 34, ...
        width: Factor of the widths.
        dropout: Share of the values that are set to 0 between the convolutions of a block in training.

    Returns:
        The encoder, images float [batch, height, width, channels] -> embeddings [batch, 64 * width].

    Raises:
        ArgumentError: The images are smaller, or another argument is out of range.
    """
    check_image_shape("input_shape", input_shape, _LEAST_SIZE)
    check_at_least("depth", depth, 10)
    check_at_least("width", width, 1)
    if (depth - 4) % 6:
        raise ArgumentError("depth", "must be 4 more than a multiple of 6", depth)
    if not 0 <= as_float("dropout", dropout) < 1:
        raise ArgumentError("dropout", "must be at least 0 and below 1", dropout)
    images = keras.Input(input_shape)
    x = _convolution(images, 16)
    for group in range(3):
        for block in range((depth - 4) // 6):
            x = _block(x, 2**group * 16 * width, 2 if group and not block else 1, dropout)
    x = layers.GlobalAveragePooling2D()(_activated(x))
    return keras.Model(images, x, name=f"wide_resnet_{depth}_{width}")


def _block(x: Any, filters: int, strides: int, dropout: float) -> Any:
    activated = _activated(x)
    # Where the shape changes, the shortcut begins behind the first activation, as in the paper's code.
    same = strides == 1 and x.shape[-1] == filters
    shortcut = x if same else _convolution(activated, filters, 1, strides)
    x = _activated(_convolution(activated, filters, 3, strides))
    if dropout:
        x = layers.Dropout(dropout)(x)
    return layers.Add()([_convolution(x, filters), shortcut])


def _activated(x: Any) -> Any:
    return layers.ReLU()(FusedBatchNormalization(momentum=_MOMENTUM)(x))


def _convolution(x: Any, filters: int, size: int = 3, strides: int = 1) -> Any:
    padding = "same"
    if strides > 1:
        # One pixel on each side: "same" would pad the last side alone, beside what the shortcut sees.
        x = layers.ZeroPadding2D(size // 2)(x) if size > 1 else x
        padding = "valid"
    return layers.Conv2D(
        filters, size, strides=strides, padding=padding, use_bias=False, kernel_initializer="he_normal"
    )(x)
