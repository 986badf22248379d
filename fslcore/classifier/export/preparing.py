# SPDX-License-Identifier: MIT
"""`fslcore.data.Preparation` in plain TensorFlow, to the last bit: pictures -> images for the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fslcore.classifier.export.decoding import cut, decoded
from fslcore.classifier.export.resizing import resized
from fslcore.data import Preparation

Tensor = Any

_FILES_AT_ONCE = 4  # that are decoded side by side


def of_pixels(pictures: Tensor, preparation: Preparation) -> Tensor:
    """Prepares pictures of one size.

    Args:
        pictures: uint8 [B, H, W, C] with 1 (gray), 3 (RGB) or 4 (RGB and transparency) channels.
        preparation: How.

    Returns:
        uint8 [B, image_size, image_size, channels].
    """
    size, channels = preparation.image_size, preparation.channels
    shape = tf.shape(pictures)
    message = "images must be [B, H, W, C] with at least one pixel and 1, 3 or 4 channels, received"
    good = tf.reduce_any(shape[3] == [1, 3, 4]) & tf.reduce_all(shape[1:3] > 0)
    with tf.control_dependencies([tf.debugging.Assert(good, [message, shape])]):
        pictures = tf.identity(pictures)
    prepared = tf.cond(
        tf.reduce_all(shape[1:3] == size),
        lambda: _flat(pictures, channels),
        lambda: _each(lambda picture: _fitted(picture, preparation), pictures, preparation),
    )
    return tf.ensure_shape(prepared, (None, size, size, channels))


def of_floats(pictures: Tensor, preparation: Preparation) -> Tensor:
    """Prepares pictures of one size, float32 [B, H, W, C] from 0 to 1; the result is that of `of_pixels`."""
    message = "images must have values from 0 to 1, received values from, to"
    least, most = tf.reduce_min(pictures), tf.reduce_max(pictures)
    # NaN compares as false.
    good = tf.reduce_all((pictures >= 0.0) & (pictures <= 1.0))
    with tf.control_dependencies([tf.debugging.Assert(good, [message, least, most])]):
        return of_pixels(tf.cast(tf.round(pictures * 255.0), tf.uint8), preparation)


def of_files(contents: Tensor, preparation: Preparation, windows: Tensor | None = None) -> Tensor:
    """Prepares files of any sizes.

    Args:
        contents: The bytes of each file, string [B].
        preparation: How.
        windows: int32 [B, 4], the part of each upright picture to take: y, x, height, width; four zeros for
            all of it. None: all of each.

    Returns:
        uint8 [B, image_size, image_size, channels].
    """
    if windows is None:
        return _each(lambda file: _fitted(decoded(file, preparation), preparation), contents, preparation)
    return _each(
        lambda each: _fitted(cut(decoded(each[0], preparation), each[1]), preparation),
        (contents, windows),
        preparation,
    )


def _each(prepare: Callable[[Any], Tensor], elements: Any, preparation: Preparation) -> Tensor:
    size = preparation.image_size
    shape = (size, size, preparation.channels)
    return tf.map_fn(
        lambda element: tf.ensure_shape(prepare(element), shape),
        elements,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        parallel_iterations=_FILES_AT_ONCE,
    )


def _fitted(picture: Tensor, preparation: Preparation) -> Tensor:
    """One picture uint8 [H, W, C] as uint8 [size, size, channels]: `fslcore.data.preparation.fitted`."""
    size, channels = preparation.image_size, preparation.channels
    height, width = tf.shape(picture)[0], tf.shape(picture)[1]

    def stretched(part: Tensor, to_height: Any = size, to_width: Any = size) -> Tensor:
        return resized(part, to_height, to_width, channels, lambda rows: _flat(rows, channels))

    def cropped() -> Tensor:
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return stretched(picture[top : top + side, left : left + side])

    def padded() -> Tensor:
        scale = tf.cast(size, tf.float64) / tf.cast(tf.maximum(height, width), tf.float64)
        inner = tf.stack([height, width])
        inner = tf.maximum(1, tf.cast(tf.round(tf.cast(inner, tf.float64) * scale), tf.int32))
        before = (size - inner) // 2
        around = tf.stack([before, size - inner - before], axis=1)
        small = stretched(picture, inner[0], inner[1])
        return tf.pad(small, tf.concat([around, [[0, 0]]], axis=0), constant_values=255)

    change = {"stretch": lambda: stretched(picture), "crop": cropped, "pad": padded}[preparation.resize]
    return tf.cond((height == size) & (width == size), lambda: _flat(picture, channels), change)


def _flat(pixels: Tensor, channels: int) -> Tensor:
    """uint8 [..., C] with 1, 3 or 4 channels -> uint8 [..., channels], on white."""

    def colours() -> Tensor:
        return pixels[..., :3] if channels == 3 else _luma(pixels[..., :3])

    def transparent() -> Tensor:
        opaque = _on_white(pixels)
        return opaque if channels == 3 else _luma(opaque)

    def gray() -> Tensor:
        return tf.repeat(pixels[..., :1], channels, axis=-1)

    found = tf.shape(pixels)[-1]
    return tf.switch_case(tf.where(found == 1, 0, found - 2), [gray, colours, transparent])


def _luma(colours: Tensor) -> Tensor:
    """Gray of ITU-R 601-2 in 16 bits, as Pillow rounds it."""
    return tf.cast(
        tf.bitwise.right_shift(
            tf.reduce_sum(tf.cast(colours, tf.int32) * [19595, 38470, 7471], axis=-1, keepdims=True) + 0x8000,
            16,
        ),
        tf.uint8,
    )


def _on_white(pixels: Tensor) -> Tensor:
    """RGB of RGB and transparency above white, rounded as by Pillow's `alpha_composite`."""
    values = tf.cast(pixels, tf.int32)
    alpha = values[..., 3:]
    # In Pillow's integers of 7 more bits: (v + (v >> 8)) >> 8 stands for a division by 255.
    sums = (values[..., :3] * alpha + 255 * (255 - alpha) + 0x80) * 128
    return tf.cast(
        tf.bitwise.right_shift(tf.bitwise.right_shift(sums, 8) + sums, 15),
        tf.uint8,
    )
