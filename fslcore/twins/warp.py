# SPDX-License-Identifier: MIT
"""The twins of `fslcore.ops.affine_images` and `gather_affine`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import as_size, check_fill
from fslcore.tensors import real

Tensor = Any


def affine_images(
    images: Tensor,
    transforms: Tensor,
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> Tensor:
    """Warps each image by an affine transform of its own; see `fslcore.kernels.affine_images`.

    Returns:
        float32 [N, height, width, channels], differentiable any number of times.
    """
    images, transforms = real("images", images), real("transforms", transforms)
    check_fill(fill)
    shape = tf.shape(images)
    height, width = (length or shape[axis] for axis, length in enumerate(as_size(size), 1))
    a, b, c, d, e, f = (transforms[:, i, None, None] for i in range(6))
    row = tf.cast(tf.range(height), tf.float32)[:, None]
    col = tf.cast(tf.range(width), tf.float32)[None]
    # Beyond the border all pixels are the same: of the value, or of the last one.
    beyond = 1 if fill == "constant" else 0
    most_y, most_x = (tf.cast(shape[axis] - 1 + beyond, tf.float32) for axis in (1, 2))
    x = tf.clip_by_value(a * col + b * row + c, -float(beyond), most_x)
    y = tf.clip_by_value(d * col + e * row + f, -float(beyond), most_y)
    left, upper = tf.floor(x), tf.floor(y)
    padded = tf.pad(images, [[0, 0], [1, 2], [1, 2], [0, 0]], constant_values=fill_value)

    def pixels(down: int, right: int) -> Tensor:
        places = tf.stack([upper + (1 + down), left + (1 + right)], axis=-1)
        return tf.gather_nd(padded, tf.cast(places, tf.int32), batch_dims=1)

    of_left, of_right = ((left + 1) - x)[..., None], (x - left)[..., None]
    of_upper, of_lower = ((upper + 1) - y)[..., None], (y - upper)[..., None]
    above = of_left * pixels(0, 0) + of_right * pixels(0, 1)
    below = of_left * pixels(1, 0) + of_right * pixels(1, 1)
    return of_upper * above + of_lower * below


def gather_affine(
    store: Tensor,
    indices: Tensor,
    transforms: Tensor,
    rotations: Tensor | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> Tensor:
    """Picks, turns, warps and scales images; see `fslcore.kernels.gather_affine`.

    Returns:
        float32 [*indices.shape, height, width, channels].
    """
    indices, transforms = tf.convert_to_tensor(indices), real("transforms", transforms)
    images = tf.cast(tf.gather(store, tf.reshape(indices, [-1])), tf.float32)
    if rotations is not None and len(rotations.shape) != 0:
        run = tf.size(indices) // tf.maximum(tf.size(rotations), 1)
        rotations = tf.repeat(tf.reshape(rotations, [-1]), run)
    if rotations is not None:
        turned = [tf.image.rot90(images, k) for k in range(4 if images.shape[1] == images.shape[2] else 1)]
        if len(turned) == 1:  # half turns need no square
            turned = [images, images, images[:, ::-1, ::-1], images]
        turns = tf.broadcast_to(tf.cast(rotations, tf.int32), tf.shape(images)[:1])
        images = tf.gather(tf.stack(turned, axis=1), turns, batch_dims=1)
    warped = affine_images(images, tf.reshape(transforms, [-1, 6]), size, fill, fill_value)
    warped = warped * scale + shift
    return tf.reshape(warped, tf.concat([tf.shape(indices), tf.shape(warped)[1:]], 0))
