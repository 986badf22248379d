# SPDX-License-Identifier: MIT
"""Pillow's antialiased bilinear resizing in plain TensorFlow, to the last bit.

`Preparation` resizes with Pillow, whose images of 8 bits are resized in integers: the weights of the triangle
filter are rounded to 22 bits, one direction is resized and rounded to 8 bits, then the other
(`src/libImaging/Resample.c`). The same integers are computed here as float64, which holds them exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

Tensor = Any
Flat = Callable[[Tensor], Tensor]

_BITS = 22  # of the weights
_BLOCK_VALUES = 2**22  # of a picture that are held as float64 at once: 34 MB


def resized(picture: Tensor, height: Tensor, width: Tensor, channels: int, flat: Flat) -> Tensor:
    """A picture, made flat and resized, a block of rows at a time.

    Args:
        picture: uint8 [H, W, C].
        height: int32, of the result.
        width: int32, of the result.
        channels: Channels of the result.
        flat: uint8 [rows, W, C] -> uint8 [rows, W, channels], pixel by pixel.

    Returns:
        uint8 [height, width, channels].
    """

    def width_first() -> Tensor:
        return _width_first(picture, height, width, channels, flat)

    if not _reduces_tall_pictures_first():
        return width_first()
    rows, columns = tf.shape(picture)[0], tf.shape(picture)[1]
    return tf.cond(
        (height < rows) & (rows - height > 2 * (columns - width)),
        lambda: _height_first(picture, height, width, channels, flat),
        width_first,
    )


@functools.cache
def _reduces_tall_pictures_first() -> bool:
    """Whether the installed Pillow resizes the height first where it shrinks by more than twice the width.

    Pillow 13 does; earlier versions always begin with the width. The results differ by the rounding between.
    """
    values = (np.arange(48 * 16, dtype=np.int64) ** 2 % 251).astype(np.uint8).reshape(48, 16)
    picture, bilinear = Image.fromarray(values), Image.Resampling.BILINEAR
    width_first = picture.resize((11, 48), bilinear).resize((11, 5), bilinear)
    return picture.resize((11, 5), bilinear).tobytes() != width_first.tobytes()


def _width_first(picture: Tensor, height: Tensor, width: Tensor, channels: int, flat: Flat) -> Tensor:
    rows, columns = tf.shape(picture)[0], tf.shape(picture)[1]
    weights = _weights(columns, width)
    block, blocks = _blocks(rows, columns * channels)

    def one(i: Tensor, parts: Any) -> tuple[Tensor, Any]:
        # The channels before the columns: one matrix product resizes all of them.
        values = tf.transpose(flat(picture[i * block : (i + 1) * block]), (0, 2, 1))
        sums = tf.matmul(tf.cast(tf.reshape(values, (-1, columns)), tf.float64), weights)
        return i + 1, parts.write(i, tf.reshape(_rounded(sums), (-1, channels * width)))

    parts = tf.TensorArray(tf.uint8, blocks, infer_shape=False, element_shape=(None, None))
    _, parts = tf.while_loop(lambda i, _: i < blocks, one, (0, parts), parallel_iterations=1)
    narrow = tf.cast(parts.concat(), tf.float64)
    small = _rounded(tf.matmul(_weights(rows, height), narrow, transpose_a=True))
    return tf.transpose(tf.reshape(small, (height, channels, width)), (0, 2, 1))


def _height_first(picture: Tensor, height: Tensor, width: Tensor, channels: int, flat: Flat) -> Tensor:
    rows, columns = tf.shape(picture)[0], tf.shape(picture)[1]
    weights = _weights(rows, height)
    block, blocks = _blocks(rows, columns * channels)

    def one(i: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        these = slice(i * block, (i + 1) * block)
        values = tf.cast(tf.reshape(flat(picture[these]), (-1, columns * channels)), tf.float64)
        return i + 1, sums + tf.matmul(weights[these], values, transpose_a=True)

    nothing = tf.zeros((height, columns * channels), tf.float64)
    _, sums = tf.while_loop(lambda i, _: i < blocks, one, (0, nothing), parallel_iterations=1)
    low = tf.transpose(tf.reshape(_rounded(sums), (height, columns, channels)), (0, 2, 1))
    values = tf.cast(tf.reshape(low, (-1, columns)), tf.float64)
    small = _rounded(tf.matmul(values, _weights(columns, width)))
    return tf.transpose(tf.reshape(small, (height, channels, width)), (0, 2, 1))


def _blocks(rows: Tensor, values_of_a_row: Tensor) -> tuple[Tensor, Tensor]:
    """How many rows a block has, and how many blocks there are."""
    block = tf.maximum(1, _BLOCK_VALUES // tf.maximum(1, values_of_a_row))
    return block, (rows + block - 1) // block


def _weights(old: Tensor, new: Tensor) -> Tensor:
    """The weights of every old pixel in every new one, whole numbers of 22 bits, float64 [old, new]."""
    size = tf.cast(old, tf.float64)
    scale = size / tf.cast(new, tf.float64)
    support = tf.maximum(scale, 1.0)
    centre = (tf.range(tf.cast(new, tf.float64), dtype=tf.float64) + 0.5) * scale
    # Pillow truncates after it has added a half; what is below 0 becomes 0 in either way.
    first = tf.floor(tf.maximum(centre - support + 0.5, 0.0))
    end = tf.minimum(tf.floor(centre + support + 0.5), size)
    place = tf.range(size, dtype=tf.float64)[:, None]
    height = tf.nn.relu(1.0 - tf.abs((place - centre + 0.5) * (1.0 / support)))
    height = tf.where((place >= first) & (place < end), height, tf.zeros_like(height))
    return tf.floor(height / tf.reduce_sum(height, axis=0) * 2.0**_BITS + 0.5)


def _rounded(sums: Tensor) -> Tensor:
    """Sums of weighted values as uint8."""
    return tf.cast(tf.clip_by_value(tf.floor(sums * 2.0**-_BITS + 0.5), 0.0, 255.0), tf.uint8)
