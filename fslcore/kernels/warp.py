# SPDX-License-Identifier: MIT
"""Affine warps: of images, of images of a store in the pass that gathers them, and drawn at random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import (
    as_array,
    as_float,
    as_int64,
    as_integers,
    as_numbers,
    as_size,
    check_fill,
    check_store,
)
from fslcore.kernels.types import FloatArray


def affine_images(
    images: npt.ArrayLike,
    transforms: npt.ArrayLike,
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> FloatArray:
    """Warps each image by an affine transform of its own, with one bilinear interpolation.

    Pixel (x, y) of a result shows the place (a x + b y + c, d x + e y + f) of its image; x counts columns, y
    rows, from the centre of the upper left pixel. The arithmetic is that of TensorFlow's
    `ImageProjectiveTransformV3`, whose transforms have two more numbers, here 0.

    Args:
        images: Real numbers [N, height, width, channels].
        transforms: Real numbers [N, 6], rows (a, b, c, d, e, f).
        size: (height, width) of the results; None: that of the images.
        fill: What is outside of an image: "constant", a value; "nearest", the pixel of its border that is
            nearest.
        fill_value: This value.

    Returns:
        float32 [N, height, width, channels], the same bits on every CPU and for any number of threads.

    Raises:
        ValueError: For a transform that is not finite, images without pixels, or shapes that do not match.
    """
    images = as_numbers("images", images, 4).astype(np.float32, copy=False)
    transforms = as_numbers("transforms", transforms, 2).astype(np.float32, copy=False)
    height, width = as_size(size)
    check_fill(fill)
    (warped,) = _core.affine_images(
        images,
        transforms,
        height=height,
        width=width,
        fill=fill,
        fill_value=as_float("fill_value", fill_value),
    )
    return warped


def gather_affine(
    store: npt.ArrayLike,
    indices: npt.ArrayLike,
    transforms: npt.ArrayLike,
    rotations: npt.ArrayLike | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> FloatArray:
    """`gather_images` with `affine_images` in the same pass: `warped(float32(image)) * scale + shift`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        transforms: Real numbers [*indices.shape, 6], as for `affine_images`.
        rotations: Counter-clockwise quarter turns 0..3 before the warp, for the leading axes of `indices`.
        scale: Factor of the warped pixels.
        shift: Added after the scaling.
        size: (height, width) of the results; None: that of the images.
        fill: As for `affine_images`.
        fill_value: In the units of the store, 0 to 255.

    Returns:
        float32 [*indices.shape, height, width, channels].

    Raises:
        ValueError: As for `gather_images` and `affine_images`.
    """
    store = as_array("store", store)
    check_store(store.shape, store.dtype.name)
    indices = as_integers("indices", indices)
    transforms = as_numbers("transforms", transforms, indices.ndim + 1).astype(np.float32, copy=False)
    rotations = as_integers("rotations", () if rotations is None else rotations)
    height, width = as_size(size)
    check_fill(fill)
    scale, shift = as_float("scale", scale), as_float("shift", shift)
    (images,) = _core.gather_affine(
        store,
        indices,
        rotations,
        transforms,
        height=height,
        width=width,
        fill=fill,
        fill_value=as_float("fill_value", fill_value),
        scale=scale,
        shift=shift,
    )
    return images


def affine_transforms(
    distributions: npt.ArrayLike, sizes: npt.ArrayLike, numbers: npt.ArrayLike, seed: int, step: int
) -> FloatArray:
    """Affine transforms drawn at random, each a pure function of the seed, the step and its number.

    A picture is mirrored, scaled, sheared along y, sheared along x, rotated and moved, about its middle. The
    generator is Philox4x32-10, as for episodes, in streams of its own.

    Args:
        distributions: Real numbers [10, 4], a row for each of `AFFINE_PARAMETERS`: rotation (degrees,
            counter-clockwise), shear_x (pixels to the right for each pixel below the middle), shear_y (down,
            for each pixel to the right), zoom (of both sides; 2 is twice as large, the least is 1/16), zoom_x
            and zoom_y (further factors), shift_x (of the width, to the right), shift_y (of the height, down),
            flip_x and flip_y (mirrored if above 0). Its numbers: two of the distribution, the probability
            with which it is applied, and whether it is normal with this mean and deviation (1) or uniform
            between them (0).
        sizes: Integers (height, width) of the images and of the results, four in all.
        numbers: Integers of any shape, 0 to 2^31 - 1: which transforms of the step.
        seed: At least 0.
        step: At least 0.

    Returns:
        float32 [*numbers.shape, 6], for `affine_images`.

    Raises:
        ValueError: For a number out of its range, or shapes that do not match.
    """
    distributions = as_numbers("distributions", distributions, 2).astype(np.float32, copy=False)
    sizes = as_integers("sizes", sizes).astype(np.int64)
    numbers = as_integers("numbers", numbers)
    seed, step = as_int64("seed", seed), as_int64("step", step)
    (transforms,) = _core.affine_transforms(distributions, sizes, numbers, np.int64(seed), np.int64(step))
    return transforms
