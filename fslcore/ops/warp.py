# SPDX-License-Identifier: MIT
"""Affine warps of images, from tensors or from a store in uint8, and their transforms drawn at random."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore import twins
from fslcore.arguments import as_float, as_size, check_fill, check_store
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import check_axes, integers, matrix, whole_number
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

    Args:
        images: [N, height, width, channels].
        transforms: [N, 6].
        size: (height, width) of the results, or None.
        fill: "constant" or "nearest".
        fill_value: What is outside of an image, a Python number.

    Returns:
        float32 [N, height, width, channels], differentiable with respect to the images and the transforms
        (in plain TensorFlow, several times slower than the op). On a GPU wrong values raise no error: an
        image whose transform is not finite is NaN.
    """
    images = real("images", images)
    check_axes("images", images, 4)
    height, width = as_size(size)
    check_fill(fill)
    return raw_ops.fslcore_affine_images(
        images=images,
        transforms=matrix("transforms", transforms),
        height=height,
        width=width,
        fill=fill,
        fill_value=as_float("fill_value", fill_value),
    )


@tf.RegisterGradient("FslcoreAffineImages")
def _affine_gradient(op: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    height, width = op.get_attr("height"), op.get_attr("width")
    images, transforms = op.inputs
    with tf.GradientTape() as tape:
        tape.watch([images, transforms])
        warped = twins.affine_images(
            images,
            transforms,
            size=(height, width) if height else None,
            fill=op.get_attr("fill").decode(),
            fill_value=op.get_attr("fill_value"),
        )
    of_images, of_transforms = tape.gradient(warped, [images, transforms], output_gradients=grad)
    return of_images, of_transforms


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
    """Picks, turns, warps and scales images in one pass; see `fslcore.kernels.gather_affine`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        transforms: [*indices.shape, 6].
        rotations: Counter-clockwise quarter turns 0..3 for the leading axes of `indices`, or None.
        scale: Factor of the pixels, a Python number.
        shift: Added then, a Python number.
        size: (height, width) of the results, or None.
        fill: "constant" or "nearest".
        fill_value: What is outside of an image, from 0 to 255, a Python number.

    Returns:
        float32 [*indices.shape, height, width, channels]; no gradient. On a GPU wrong values raise no error:
        an image whose index or turn is out of range, or whose transform is not finite, is NaN.
    """
    store = tf.convert_to_tensor(store)
    if store.shape.rank is not None:
        check_store(tuple(store.shape), store.dtype.name)
    height, width = as_size(size)
    check_fill(fill)
    return raw_ops.fslcore_gather_affine(
        store=store,
        indices=integers("indices", indices),
        rotations=tf.zeros([0], tf.int64) if rotations is None else integers("rotations", rotations),
        transforms=real("transforms", transforms),
        height=height,
        width=width,
        fill=fill,
        fill_value=as_float("fill_value", fill_value),
        scale=as_float("scale", scale),
        shift=as_float("shift", shift),
    )


def affine_transforms(
    distributions: Tensor, sizes: Tensor, numbers: Tensor, seed: Tensor | int, step: Tensor | int
) -> Tensor:
    """Affine transforms drawn at random; see `fslcore.kernels.affine_transforms`.

    Args:
        distributions: [10, 4].
        sizes: Integers [4]: (height, width) of the images and of the results.
        numbers: Integers of any shape.
        seed: At least 0; may be a tensor.
        step: At least 0; may be a tensor.

    Returns:
        float32 [*numbers.shape, 6]; no gradient. On a GPU wrong values raise no error: a transform with a
        number out of its range is NaN.
    """
    return raw_ops.fslcore_affine_transforms(
        distributions=matrix("distributions", distributions),
        sizes=integers("sizes", sizes),
        numbers=integers("numbers", numbers),
        seed=whole_number("seed", seed),
        step=whole_number("step", step),
    )


for _op in ("FslcoreGatherAffine", "FslcoreAffineTransforms"):
    tf.no_gradient(_op)
