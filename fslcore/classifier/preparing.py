# SPDX-License-Identifier: MIT
"""Images of any kind -> uint8 [n, S, S, C], as the network was trained with them; and what a label may be."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.arguments import ArgumentError, as_int64, as_matrix
from fslcore.classifier.growing import Label
from fslcore.data.checks import form
from fslcore.data.preparation import Preparation

_ONE = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
_CHANNELS = (1, 3, 4)
_FORM = (
    "must be an image or a list of images: paths, bytes of files, Pillow images, or arrays [H, W], [H, W, C] "
    "or [N, H, W, C] with 1, 3 or 4 channels"
)


def prepared_images(images: Any, preparation: Preparation, of: str = "") -> npt.NDArray[np.uint8]:
    """Prepares one or many images.

    Args:
        images: An image as `Preparation` takes it; a list, tuple or other iterable of them; or an array or
            tensor [N, H, W, C]. They may differ in size.
        preparation: What makes them alike.
        of: What they are of, for messages, as in " of label 'a'".

    Returns:
        uint8 [n, S, S, C], n at least 1.

    Raises:
        ArgumentError: There is none, or one cannot be read or used, which is named by its number.
    """
    if isinstance(images, _ONE):
        return _prepared(images, preparation, f"images{of}")[np.newaxis]
    if hasattr(images, "__array__") or hasattr(images, "__array_interface__"):
        array = np.asarray(images)
        if array.ndim == 3 and not {array.shape[0], array.shape[2]} & set(_CHANNELS):
            raise ArgumentError(
                f"images{of}",
                _FORM,
                described=f"{form(array)} (gray images have an axis for it, [N, H, W, 1])",
            )
        if array.ndim != 4:
            return _prepared(array, preparation, f"images{of}")[np.newaxis]
        if not len(array):
            raise _none(of)
        size = preparation.image_size
        if array.dtype == np.uint8 and array.shape[1:] == (size, size, preparation.channels):
            return np.array(array)  # they are what a preparation of each of them would make
        images = array
    elif isinstance(images, (dict, set, frozenset)) or not hasattr(images, "__iter__"):
        raise ArgumentError(f"images{of}", _FORM, described=type(images).__name__)
    several = list(images)
    if not several:
        raise _none(of)
    return np.stack([_prepared(each, preparation, f"images[{i}]{of}") for i, each in enumerate(several)])


def _none(of: str) -> ArgumentError:
    return ArgumentError(f"images{of}", "must hold at least one image", described="none")


def _prepared(image: Any, preparation: Preparation, argument: str) -> npt.NDArray[np.uint8]:
    try:
        return preparation(image)
    except ArgumentError as error:
        raise ArgumentError(argument, error.requirement, described=error.described) from error


def prepared_embeddings(embeddings: Any, argument: str = "embeddings") -> npt.NDArray[np.float32]:
    """Embeddings as float32 [n, D], n and D at least 1; [D] is one of them.

    Raises:
        ArgumentError: They are of another form, or not finite.
    """
    try:
        array = np.asarray(embeddings)
        matrix = as_matrix(argument, array[np.newaxis] if array.ndim == 1 else array)
    except ValueError as error:
        raise ArgumentError(
            argument,
            "must be real numbers [n, D] or [D]",
            described=str(error).partition("received ")[2] or "rows",
        ) from error
    if not matrix.size:
        raise ArgumentError(argument, "must hold at least one row", described=f"shape {list(matrix.shape)}")
    with np.errstate(over="ignore"):
        rows = np.array(matrix, np.float32, order="C")
    check_finite(argument, rows)
    return rows


def check_finite(argument: str, rows: npt.NDArray[np.float32]) -> None:
    """Raises ArgumentError for rows [n, D] with NaN or infinity, which are near to nothing."""
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ArgumentError(
            argument, "must be finite", described=f"NaN or infinity in row {int(finite.argmin())}"
        )


def as_label(label: Any) -> Label:
    """A label as it is kept: a non-empty string, or an integer of 64 bits.

    Raises:
        ArgumentError: For anything else; True, 1.0 and NaN are no integers.
    """
    if isinstance(label, str) and label:
        return str(label)
    if isinstance(label, (int, np.integer)) and not isinstance(label, (bool, np.bool_)):
        return as_int64("label", label)
    raise ArgumentError("label", "must be a string that is not empty, or an integer", label)
