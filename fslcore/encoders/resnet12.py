# SPDX-License-Identifier: MIT
"""Four residual blocks of three convolutions, the deeper network of the few-shot literature."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fslcore.arguments import ArgumentError, as_float, check_image_shape
from fslcore.layers import DropBlock, FusedBatchNormalization

Shape = tuple[int, int, int]

_LEAST_SIZE = 16  # four times halved leaves one pixel
_FILTERS = (64, 160, 320, 640)
# Of the moving averages, as in conv4: with Keras' 0.99 they lag 100 steps behind the weights.
_MOMENTUM = 0.9
_DROPPED = 5  # height and width of what DropBlock sets to 0


def resnet12(
    input_shape: Shape = (84, 84, 3),
    filters: tuple[int, ...] = _FILTERS,
    dropout: float = 0.0,
    drop_block: float = 0.0,
) -> keras.Model:
    """The ResNet-12 of the few-shot literature: dim 640, whatever the size of the images.

    Oreshkin et al., "TADAM: Task dependent adaptive metric for improved few-shot learning" (2018), in the
    widths of Lee et al., "Meta-Learning with Differentiable Convex Optimization" (2019), section 4.1. A block
    is three 3 x 3 convolutions with batch normalisation and LeakyReLU(0.1), a 1 x 1 convolution around them
    that is added before the last activation, and pooling by 2. The mean over the pixels is the embedding.
    12,424,320 trainable parameters on 3 channels. On a CPU a training step takes about 80 times as long as
    one of `conv4`.

    Args:
        input_shape: (height, width, channels), at least 16 pixels high and wide.
        filters: Channels of the blocks, one number each; the last is the width of the embedding.
        dropout: Share of the values that are set to 0 after each block in training.
        drop_block: Rate of a `fslcore.layers.DropBlock` of 5 x 5 pixels after the last two blocks; 0.1 in Lee
            et al. (2019).

    Returns:
        The encoder, images float [batch, height, width, channels] -> embeddings [batch, filters[-1]].

    Raises:
        ArgumentError: The images are smaller, or another argument is out of range.
    """
    check_image_shape("input_shape", input_shape, _LEAST_SIZE)
    if len(filters) != 4 or min(filters) < 1:
        raise ArgumentError("filters", "must be 4 numbers of 1 or more", filters)
    for argument, rate in (("dropout", dropout), ("drop_block", drop_block)):
        if not 0 <= as_float(argument, rate) < 1:
            raise ArgumentError(argument, "must be at least 0 and below 1", rate)
    images = x = keras.Input(input_shape)
    for i, width in enumerate(filters):
        x = _block(x, width)
        if dropout:
            x = layers.Dropout(dropout)(x)
        if drop_block and i >= 2:
            x = DropBlock(drop_block, _DROPPED)(x)
    return keras.Model(images, layers.GlobalAveragePooling2D()(x), name="resnet12")


def _block(x: Any, width: int) -> Any:
    shortcut = _normalised(x, width, 1)
    for i in range(3):
        x = _normalised(x, width, 3)
        if i < 2:
            x = layers.LeakyReLU(0.1)(x)
    return layers.MaxPooling2D()(layers.LeakyReLU(0.1)(layers.Add()([x, shortcut])))


def _normalised(x: Any, width: int, size: int) -> Any:
    """A convolution and batch normalisation, which would cancel a bias."""
    x = layers.Conv2D(width, size, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return FusedBatchNormalization(momentum=_MOMENTUM)(x)
