# SPDX-License-Identifier: MIT
"""Checks of the numbers and arrays that stores and samplers take."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError


def check_count(argument: str, value: Any, least: int) -> None:
    """Raises ArgumentError unless the value is an integer of at least `least`; bool is no integer here."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < least:
        raise ArgumentError(argument, f"must be an integer of {least} or more", value)


def checked_images(images: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """The images as a contiguous array uint8 [N, H, W, C], or an ArgumentError."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ArgumentError("images", "must be uint8 [N, H, W, C]", images, described=_form(images))
    if not images.size:
        raise ArgumentError(
            "images",
            "must hold at least one image and pixel",
            images,
            described=f"shape {list(images.shape)}",
        )
    return np.ascontiguousarray(images)


def checked_indices(argument: str, values: npt.ArrayLike, n_images: int) -> npt.NDArray[np.int32]:
    """One integer per image as int32 [n_images], or an ArgumentError."""
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.integer) or values.shape != (n_images,):
        raise ArgumentError(
            argument, f"must be integers, one per image [{n_images}]", values, described=_form(values)
        )
    return np.ascontiguousarray(values, dtype=np.int32)


def check_sorted(labels: npt.NDArray[np.int32]) -> None:
    """Raises ArgumentError unless the labels start at 0 and rise by at most 1 from image to image."""
    steps = np.diff(labels, prepend=-1)
    wrong = (steps != 0) & (steps != 1)
    wrong[0] = labels[0] != 0
    if not wrong.any():
        return
    at = int(wrong.argmax())
    after = f" after {labels[at - 1]}" if at else ""
    raise ArgumentError(
        "labels",
        "must start at 0 and rise by at most 1 from image to image (sorted, no class empty)",
        labels,
        described=f"labels[{at}]={labels[at]}{after}; ImageStore.from_arrays sorts and renumbers",
    )


def distinct(argument: str, values: npt.ArrayLike) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """The sorted distinct values [N] as strings, and the index of each value among them, int32 [N]."""
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "iuUO":
        raise ArgumentError(argument, "must be integers or strings [N]", values, described=_form(values))
    names, index = np.unique(values, return_inverse=True)
    return tuple(str(name) for name in names), index.astype(np.int32)


def _form(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype} {list(array.shape)}"
