# SPDX-License-Identifier: MIT
"""Gathering of images from a store in uint8."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.arguments import as_float, as_size, check_store
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import integers

Tensor = Any


def gather_images(
    store: Tensor,
    indices: Tensor,
    rotations: Tensor | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Picks, turns, resizes and scales images in one pass; see `fslcore.kernels.gather_images`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        rotations: Counter-clockwise quarter turns 0..3 for the leading axes of `indices`, or None.
        scale: Multiplied first, a Python number.
        shift: Added then, a Python number.
        size: (height, width) to resize to, or None.

    Returns:
        float32 [*indices.shape, height, width, channels], with the height and width of `size` if it is given.
        On a GPU wrong values raise no error: an image whose index or turn is out of range is NaN.
    """
    store = tf.convert_to_tensor(store)
    if store.shape.rank is not None:
        check_store(tuple(store.shape), store.dtype.name)
    indices = integers("indices", indices)
    rotations = tf.zeros([0], tf.int64) if rotations is None else integers("rotations", rotations)
    height, width = as_size(size)
    return raw_ops.fslcore_gather_images(
        store=store,
        indices=indices,
        rotations=rotations,
        height=height,
        width=width,
        scale=as_float("scale", scale),
        shift=as_float("shift", shift),
    )


tf.no_gradient("FslcoreGatherImages")
