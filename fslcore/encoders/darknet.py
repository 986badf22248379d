# SPDX-License-Identifier: MIT
"""The encoders of YOLO: a residual one of 52 convolutions, and a small one."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fslcore.arguments import ArgumentError, check_image_shape
from fslcore.encoders.koch import l2
from fslcore.layers import FusedBatchNormalization

Shape = tuple[int, int, int]

_LEAST_SIZE = 32  # five times halved leaves one pixel
_POOLS = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}
_DECAY = 5e-4


def Darknet53(input_shape: Shape = (224, 224, 3), pooling: str | None = None) -> keras.Model:
    """The encoder of YOLOv3, as in keras-fsl: a map of 1024 channels, a 32nd as high and wide as the images.

    Redmon and Farhadi, "YOLOv3: An Incremental Improvement" (2018), table 1, without the classifier:
    52 convolutions without bias, each with batch normalisation, LeakyReLU(0.1) and an l2 of 5e-4.
    40,620,640 parameters on 3 channels.

    Args:
        input_shape: (height, width, channels), at least 32 pixels high and wide.
        pooling: None for the map [batch, h, w, 1024]; "avg" or "max" over its pixels for embeddings
            [batch, 1024].

    Returns:
        The encoder; its `losses` hold the regularisation, which Keras adds to the loss in `fit`.

    Raises:
        ArgumentError: The images are smaller, or there is no such pooling.
    """
    _check(input_shape, pooling)
    images = keras.Input(input_shape)
    x = _convolution(images, 32)
    for filters, repeats in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = layers.ZeroPadding2D(((1, 0), (1, 0)))(x)
        x = _convolution(x, filters, strides=2, padding="valid")
        for _ in range(repeats):
            x = layers.Add()([x, _convolution(_convolution(x, filters // 2, 1), filters)])
    return keras.Model(images, _pooled(x, pooling), name="darknet53")


def Darknet7(input_shape: Shape = (224, 224, 3), pooling: str | None = None) -> keras.Model:
    """The encoder of YOLOv3-tiny, as in keras-fsl: seven convolutions, 1024 channels.

    6,298,480 parameters on 3 channels. Convolutions are those of `Darknet53`; the first five are followed by
    pooling by 2, the sixth by pooling with stride 1.

    Args:
        input_shape: (height, width, channels), at least 32 pixels high and wide.
        pooling: As for `Darknet53`.

    Returns:
        The encoder, as for `Darknet53`.

    Raises:
        ArgumentError: As for `Darknet53`.
    """
    _check(input_shape, pooling)
    images = x = keras.Input(input_shape)
    for filters in (16, 32, 64, 128, 256, 512):
        strides = 1 if filters == 512 else 2
        x = layers.MaxPooling2D(2, strides=strides, padding="same")(_convolution(x, filters))
    return keras.Model(images, _pooled(_convolution(x, 1024), pooling), name="darknet7")


def _check(input_shape: Any, pooling: Any) -> None:
    check_image_shape("input_shape", input_shape, _LEAST_SIZE)
    if pooling is not None and pooling not in _POOLS:
        raise ArgumentError("pooling", "must be None, 'avg' or 'max'", pooling)


def _convolution(x: Any, filters: int, size: int = 3, strides: int = 1, padding: str = "same") -> Any:
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_regularizer=l2(_DECAY),
    )(x)
    return layers.LeakyReLU(0.1)(FusedBatchNormalization(momentum=0.99)(x))


def _pooled(x: Any, pooling: str | None) -> Any:
    return x if pooling is None else _POOLS[pooling]()(x)
