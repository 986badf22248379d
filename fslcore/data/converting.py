# SPDX-License-Identifier: MIT
"""Arrays and tensors of other libraries as the images of a store, where there is only one way to see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.data.arrays import empty_images
from fslcore.data.checks import as_images, form, has_channels_first
from fslcore.data.views import mapping_of

_AT_A_TIME = 1 << 24  # values that are scaled at once


def as_store_images(images: Any) -> npt.NDArray[Any]:
    """Images as a store holds them, or as they are if it is for the store to refuse them.

    Tensors of PyTorch, TensorFlow and JAX become arrays. [N, H, W] gets an axis for its one channel. Floats
    from 0 to 1 are scaled and rounded to uint8, in blocks. Channels that come first are moved to the end;
    for this, a memory map would have to be copied, and is refused.

    Args:
        images: [N, H, W, C], [N, C, H, W] or [N, H, W], of uint8 or floats.

    Returns:
        An array [N, H, W, C]; the one that was given, where nothing had to be changed.

    Raises:
        ArgumentError: They are masked, differ in size, or are of a type that NumPy does not have.
    """
    array = as_images(_of_torch(images))
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or not array.size:
        return array
    if array.dtype.kind == "f":
        array = _scaled(array)
    if has_channels_first(array) and array.dtype == np.uint8:
        if mapping_of(images) is not None:
            raise ArgumentError(
                "images",
                "must have their channels last, [N, H, W, C], if they are a memory map, which is not copied",
                images,
                described=f"{form(array)}: write images.transpose(0, 2, 3, 1) into another file",
            )
        moved = empty_images((array.shape[0], *array.shape[2:], array.shape[1]))
        np.copyto(moved, array.transpose(0, 2, 3, 1))
        return moved
    return array


def _of_torch(images: Any) -> Any:
    """A tensor of PyTorch as an array, also from a GPU or with a gradient; anything else as it is."""
    if not all(callable(getattr(images, name, None)) for name in ("detach", "cpu", "numpy")):
        return images
    try:
        return images.detach().cpu().numpy()
    except TypeError as error:  # bfloat16
        raise ArgumentError(
            "images",
            "must be of a type that NumPy has, such as images.float()",
            images,
            described=f"a tensor of {images.dtype}",
        ) from error


def _scaled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Floats from 0 to 1 as uint8; others as they are."""
    rows = max(1, _AT_A_TIME // array[0].size)
    blocks = [array[start : start + rows] for start in range(0, len(array), rows)]
    for block in blocks:
        if not (block.min() >= 0 and block.max() <= 1):  # NaN is neither
            return array
    scaled = empty_images(array.shape)
    for i, block in enumerate(blocks):
        np.copyto(
            scaled[i * rows : i * rows + len(block)], np.rint(block * np.float32(255)), casting="unsafe"
        )
    return scaled
