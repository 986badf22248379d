# SPDX-License-Identifier: MIT
"""The fused gather of images."""

from __future__ import annotations

import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import as_array, as_float, as_integers, as_size, check_store
from fslcore.kernels.types import FloatArray


def gather_images(
    store: npt.ArrayLike,
    indices: npt.ArrayLike,
    rotations: npt.ArrayLike | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
) -> FloatArray:
    """Picks, turns, resizes and scales images in one pass: `float32(image) * scale + shift`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        rotations: Counter-clockwise quarter turns 0..3 as in `numpy.rot90`, for the leading axes of
            `indices`: [episodes, n_way] turns all samples of a class alike. None for no turns.
        scale: Factor of the pixels.
        shift: Added after the scaling.
        size: (height, width) to resize to, after the turns and before `scale`: bilinear interpolation between
            the centres of pixels without antialiasing, in the arithmetic of `tf.image.resize`. None keeps the
            size.

    Returns:
        float32 [*indices.shape, height, width, channels]; `size` sets height and width if it is given.

    Raises:
        ValueError: For an index out of range, an odd turn of images that are not square, or shapes that do
            not match.
    """
    store = as_array("store", store)
    check_store(store.shape, store.dtype.name)
    indices = as_integers("indices", indices)
    rotations = as_integers("rotations", () if rotations is None else rotations)
    height, width = as_size(size)
    scale, shift = as_float("scale", scale), as_float("shift", shift)
    (images,) = _core.gather_images(
        store, indices, rotations, height=height, width=width, scale=scale, shift=shift
    )
    return images
