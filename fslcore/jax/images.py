# SPDX-License-Identifier: MIT
"""The fused gather of images."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fslcore.arguments import as_array, as_float, as_size, check_store
from fslcore.jax.handlers import Array, call, integers


def gather_images(
    store: Array,
    indices: Array,
    rotations: Array | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
) -> Array:
    """Picks, turns, resizes and scales images in one pass; see `fslcore.kernels.gather_images`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        rotations: Counter-clockwise quarter turns 0..3 for the leading axes of `indices`, or None.
        scale: Factor of the pixels, a Python number.
        shift: Added after the scaling, a Python number.
        size: (height, width) to resize to, or None.

    Returns:
        float32 [*indices.shape, height, width, channels]; `size` sets height and width if it is given.
    """
    store = store if isinstance(store, jax.Array) else as_array("store", store)
    check_store(store.shape, store.dtype.name)
    store = jnp.asarray(store)
    indices = integers("indices", indices)
    rotations = turns_of(indices, rotations)
    height, width = as_size(size)
    if height and store.shape[0] > 0 and store.size == 0:
        raise ValueError(f"store must have pixels to resize, received images of {list(store.shape[1:])}")
    image = (height or store.shape[1], width or store.shape[2], store.shape[3])
    return call(
        "gather_images",
        jax.ShapeDtypeStruct((*indices.shape, *image), jnp.float32),
        store,
        indices,
        rotations,
        height=height,
        width=width,
        scale=as_float("scale", scale),
        shift=as_float("shift", shift),
    )


def turns_of(indices: Array, rotations: Array | None) -> Array:
    """Quarter turns as an int64 array, empty for None.

    Raises:
        ValueError: they do not have the leading axes of the indices.
    """
    turns = integers("rotations", () if rotations is None else rotations)
    if turns.shape != (0,) and indices.shape[: turns.ndim] != turns.shape:
        raise ValueError(
            f"rotations must have the leading axes of indices {list(indices.shape)}, "
            f"received {list(turns.shape)}"
        )
    return turns
