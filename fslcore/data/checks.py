# SPDX-License-Identifier: MIT
"""Checks of the numbers and arrays that stores and samplers take."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_int64

_MOST_CHANNELS = 4  # more than these, beside a first axis of so few, are the width


def check_count(argument: str, value: Any, least: int) -> None:
    """Raises ArgumentError unless the value is an integer of at least `least`; bool is no integer here."""
    try:
        enough = as_int64(argument, value) >= least
    except ArgumentError:
        # Beyond 64 bits it is an integer, and the message says so.
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least:
            raise
        enough = False
    if not enough:
        raise ArgumentError(argument, f"must be an integer of {least} or more", value)


def checked_bounds(argument: str, value: Any, least: int) -> tuple[int, int]:
    """A number, or a pair of the least and the largest number, as a pair; or an ArgumentError."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ArgumentError(argument, "must be an integer or a pair (least, largest)", value)
    for bound in pair:
        check_count(argument, bound, least)
    if pair[0] > pair[1]:
        raise ArgumentError(argument, "must have the least number before the largest", value)
    return int(pair[0]), int(pair[1])


def as_images(images: npt.ArrayLike) -> npt.NDArray[Any]:
    """The images as an array, or an ArgumentError if they are masked or differ in size."""
    _check_unmasked("images", images)
    try:
        return np.asarray(images)
    except ValueError as error:
        raise ArgumentError(
            "images", "must all have one size, [N, H, W, C]", images, described=f"images that do not: {error}"
        ) from error


def checked_images(images: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """The images as a contiguous array uint8 [N, H, W, C], or an ArgumentError that says what would help."""
    images = as_images(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        remedy = _remedy(images)
        raise ArgumentError(
            "images",
            "must be uint8 [N, H, W, C]",
            images,
            described=form(images) + (remedy and f": {remedy}"),
        )
    if not images.size:
        raise ArgumentError(
            "images",
            "must hold at least one image and pixel",
            images,
            described=f"shape {list(images.shape)}",
        )
    if has_channels_first(images):
        raise ArgumentError(
            "images",
            "must have their channels last, [N, H, W, C]",
            images,
            described=f"shape {list(images.shape)}, which has them first: pass images.transpose(0, 2, 3, 1)",
        )
    return np.ascontiguousarray(images)


def has_channels_first(images: npt.NDArray[Any]) -> bool:
    """Whether images [N, ., ., .] can only be seen as [N, C, H, W]."""
    _, first, second, last = images.shape
    return bool(first <= _MOST_CHANNELS < min(second, last))


def checked_indices(argument: str, values: npt.ArrayLike, n_images: int) -> npt.NDArray[np.int32]:
    """One integer per image as int32 [n_images], or an ArgumentError."""
    _check_unmasked(argument, values)
    values = np.asarray(values)
    if not np.issubdtype(values.dtype, np.integer) or values.shape != (n_images,):
        raise ArgumentError(
            argument, f"must be integers, one per image [{n_images}]", values, described=form(values)
        )
    if n_images and not -(2**31) <= values.min() <= values.max() < 2**31:
        raise ArgumentError(
            argument,
            "must be integers of 32 bits",
            values,
            described=f"values from {values.min()} to {values.max()}",
        )
    return np.ascontiguousarray(values, dtype=np.int32)


def check_rows(rows: npt.ArrayLike, n_images: int) -> npt.NDArray[Any]:
    """Row numbers as an array of integers, or an ArgumentError."""
    rows = np.asarray(rows)
    if not np.issubdtype(rows.dtype, np.integer):
        raise ArgumentError("rows", "must be integers", rows, described=form(rows))
    if rows.size and not 0 <= rows.min() <= rows.max() < n_images:
        raise ArgumentError(
            "rows",
            f"must be numbers of 0..{n_images - 1}",
            rows,
            described=f"values from {rows.min()} to {rows.max()}",
        )
    return rows


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


def form(array: npt.NDArray[Any]) -> str:
    """Type and shape of an array, for messages."""
    return f"{array.dtype} {list(array.shape)}"


def _check_unmasked(argument: str, values: Any) -> None:
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        masked = int(np.ma.getmaskarray(values).sum())
        raise ArgumentError(argument, "must have no masked values", values, described=f"{masked} of them")


def _remedy(images: npt.NDArray[Any]) -> str:
    """How to make uint8 of other values exactly, or what is wrong with them."""
    kind = images.dtype.kind
    if kind == "b":
        return "pass images.astype(np.uint8) * 255 if True is white"
    if kind not in "iuf" or not images.size or images.dtype == np.uint8:
        return ""
    least, most = images.min(), images.max()
    values = f"values from {least} to {most}"
    if kind == "f" and not np.isfinite([least, most]).all():
        return f"{int(np.count_nonzero(~np.isfinite(images)))} values are NaN or infinite"
    if least < 0:
        return f"{values}; shift and scale them to 0..255"
    if most <= 1:
        whole = "np.rint(images * 255)" if kind == "f" else "(images * 255)"
        return f"{values}; pass {whole}.astype(np.uint8) if 1 is white"
    if most <= 255:
        return f"{values}; pass {'np.rint(images)' if kind == 'f' else 'images'}.astype(np.uint8)"
    if kind in "iu":
        shift = int(most).bit_length() - 8
        return f"{values}; pass (images >> {shift}).astype(np.uint8)"
    return f"{values}; scale them to 0..255"


def cannot_be_turned(rotations: Any) -> ArgumentError:
    """The error for rotations of embeddings."""
    return ArgumentError(
        "rotations", "must be left out for embeddings: turn the images before they are embedded", rotations
    )
