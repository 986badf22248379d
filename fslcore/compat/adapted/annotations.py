# SPDX-License-Identifier: MIT
"""The data frames of keras-fsl: image_name is filename here, and crops are given in another form."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.cpus import available_cpus
from fslcore.data.datasets.listing import Listing
from fslcore.data.datasets.table import is_table, listing_of
from fslcore.data.samples import Samples

_CROP = ("crop_y", "crop_x", "crop_height", "crop_width")


def with_filename(frame: Any) -> Any:
    """The frame with `image_name` called `filename`, unless it has both or neither."""
    if isinstance(frame, str) or not is_table(frame):
        raise ArgumentError("annotations", "must be a DataFrame", described=type(frame).__name__)
    if "filename" in frame.columns or "image_name" not in frame.columns:
        return frame
    return frame.rename(columns={"image_name": "filename"})


def samples_of_frame(frame: Any, load: dict[str, Any]) -> Samples:
    """The pictures of a frame in its order, uint8, read whenever a sequence asks for them.

    Args:
        frame: Columns image_name (or filename), label and, for a part of each picture as it has been loaded,
            crop_coordinates: (left, upper, right, lower), or None for all of it.
        load: Arguments of `keras.utils.load_img`: target_size, color_mode, interpolation.

    Raises:
        ArgumentError: A column is not there, files are not there, or a crop is none.
    """
    frame = with_filename(frame)
    crops = _crops(frame)
    kept = frame[[name for name in ("filename", "label") if name in frame.columns]]
    listing, order = listing_of(kept, Path.cwd(), "annotations")
    read = _Reader(listing, np.argsort(order, kind="stable"), crops, load)
    first = read(np.zeros(1, np.int64))[0]
    return Samples(
        listing.labels[read.places],
        listing.class_names,
        read,
        first.shape,
        first.dtype,
        f"the frame of {len(order):,} rows",
    )


class _Reader:
    """Reads pictures by the row of the frame; it can be sent to other processes."""

    def __init__(
        self,
        listing: Listing,
        places: npt.NDArray[np.int64],
        crops: list[tuple[int, ...] | None],
        load: dict[str, Any],
    ) -> None:
        self.places, self._files, self._crops, self._load = places, listing.files, crops, load

    def __call__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        with ThreadPoolExecutor(available_cpus()) as pool:
            pictures = list(pool.map(self._read, rows.ravel().tolist()))
        shapes = sorted({picture.shape for picture in pictures})
        if len(shapes) > 1:
            raise ArgumentError(
                "annotations",
                "must have pictures of one size, or target_size=(height, width) must be given",
                described=f"pictures of {' and '.join(map(str, shapes[:2]))}",
            )
        return np.stack(pictures).reshape(*rows.shape, *shapes[0])

    def _read(self, row: int) -> npt.NDArray[np.uint8]:
        picture = keras.utils.load_img(self._files[self.places[row]], **self._load).crop(self._crops[row])
        pixels = np.asarray(picture, np.uint8)
        return pixels if pixels.ndim == 3 else pixels[..., None]


def _crops(frame: Any) -> list[tuple[int, ...] | None]:
    if "crop_coordinates" not in frame.columns:
        return [None] * len(frame)
    crops: list[tuple[int, ...] | None] = []
    for row, box in zip(frame.index, frame["crop_coordinates"].tolist(), strict=True):
        if box is None or (isinstance(box, float) and np.isnan(box)):
            crops.append(None)
            continue
        numbers = np.asarray(box)
        if numbers.shape != (4,) or numbers.dtype.kind not in "iuf" or (numbers[2:] <= numbers[:2]).any():
            raise ArgumentError(
                "crop_coordinates",
                "must be (left, upper, right, lower) or None",
                described=f"{box!r} at index {row}",
            )
        crops.append(tuple(numbers.tolist()))
    return crops
