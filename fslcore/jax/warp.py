# SPDX-License-Identifier: MIT
"""Affine warps of images, and their transforms drawn at random."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fslcore.arguments import as_array, as_float, as_size, check_fill, check_store
from fslcore.jax.handlers import Array, call, floats, integers, number
from fslcore.jax.images import turns_of


def affine_images(
    images: Array,
    transforms: Array,
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> Array:
    """Warps each image by an affine transform of its own; see `fslcore.kernels.affine_images`.

    Args:
        images: [N, height, width, channels].
        transforms: [N, 6].
        size: (height, width) of the results, or None.
        fill: "constant" or "nearest".
        fill_value: What is outside of an image, a Python number.

    Returns:
        float32 [N, height, width, channels]; without a gradient.
    """
    images, transforms = floats("images", images, 4), floats("transforms", transforms, 2)
    height, width = as_size(size)
    check_fill(fill)
    result = (images.shape[0], height or images.shape[1], width or images.shape[2], images.shape[3])
    return call(
        "affine_images",
        jax.ShapeDtypeStruct(result, jnp.float32),
        images,
        transforms,
        height=height,
        width=width,
        fill=fill,
        fill_value=as_float("fill_value", fill_value),
    )


def gather_affine(
    store: Array,
    indices: Array,
    transforms: Array,
    rotations: Array | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> Array:
    """Picks, turns, warps and scales images in one pass; see `fslcore.kernels.gather_affine`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        transforms: [*indices.shape, 6].
        rotations: Counter-clockwise quarter turns 0..3 for the leading axes of `indices`, or None.
        scale: Factor of the pixels, a Python number.
        shift: Added after the scaling, a Python number.
        size: (height, width) of the results, or None.
        fill: "constant" or "nearest".
        fill_value: What is outside of an image, from 0 to 255, a Python number.

    Returns:
        float32 [*indices.shape, height, width, channels].
    """
    store = store if isinstance(store, jax.Array) else as_array("store", store)
    check_store(store.shape, store.dtype.name)
    store = jnp.asarray(store)
    indices = integers("indices", indices)
    height, width = as_size(size)
    check_fill(fill)
    image = (height or store.shape[1], width or store.shape[2], store.shape[3])
    return call(
        "gather_affine",
        jax.ShapeDtypeStruct((*indices.shape, *image), jnp.float32),
        store,
        indices,
        turns_of(indices, rotations),
        floats("transforms", transforms, indices.ndim + 1),
        height=height,
        width=width,
        fill=fill,
        fill_value=as_float("fill_value", fill_value),
        scale=as_float("scale", scale),
        shift=as_float("shift", shift),
    )


def affine_transforms(
    distributions: Array, sizes: Array, numbers: Array, seed: Array | int, step: Array | int
) -> Array:
    """Affine transforms drawn at random; see `fslcore.kernels.affine_transforms`.

    Args:
        distributions: [10, 4].
        sizes: Integers [4]: (height, width) of the images and of the results.
        numbers: Integers of any shape.
        seed: At least 0.
        step: At least 0.

    Returns:
        float32 [*numbers.shape, 6].
    """
    numbers = integers("numbers", numbers)
    return call(
        "affine_transforms",
        jax.ShapeDtypeStruct((*numbers.shape, 6), jnp.float32),
        floats("distributions", distributions, 2),
        integers("sizes", sizes, 1),
        numbers,
        number("seed", seed),
        number("step", step),
    )
