# SPDX-License-Identifier: MIT
"""Images kept as JPEG, in a memory map or in memory, and decoded when they are asked for.

simplejpeg and TensorFlow decode them to the same pixels: both bring libjpeg-turbo, with its accurate integer
transform, and the colours are not subsampled.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.cpus import available_cpus
from fslcore.data.views import Paging, StoredImages

_QUALITY = 95  # about a quarter of the bytes of a photograph; differences of a few of 255 levels
_CHANNELS = (1, 3)
_FEW = 16  # decoded without starting threads


def encode(image: npt.NDArray[np.uint8]) -> bytes:
    """An image uint8 [H, W, C] as JPEG."""
    buffer = io.BytesIO()
    flat = image[..., 0] if image.shape[2] == 1 else image
    Image.fromarray(flat).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def decode(encoded: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The image uint8 [H, W, C] of this shape."""
    return simplejpeg.decode_jpeg(encoded, "GRAY" if shape[2] == 1 else "RGB").reshape(shape)


def check_channels(channels: int) -> None:
    """Raises ArgumentError for images that JPEG has no form for."""
    if channels not in _CHANNELS:
        raise ArgumentError("storage", f"must not be 'jpeg' for images with {channels} channels", "jpeg")


class JpegImages(StoredImages):
    """Images kept as JPEG.

    Args:
        encoded: uint8, the bytes of all images.
        starts: Where each image begins, int64 [N].
        ends: Where it ends, int64 [N].
        image_shape: (H, W, C) of every image, with 1 or 3 channels.
    """

    def __init__(
        self,
        encoded: npt.NDArray[np.uint8],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        image_shape: tuple[int, int, int],
    ) -> None:
        super().__init__((len(starts), *image_shape))
        self._encoded, self._starts, self._ends = encoded, starts, ends
        self._paging = Paging(encoded)

    @property
    def nbytes(self) -> int:
        """Bytes that the compressed images take."""
        return int(np.sum(self._ends - self._starts))

    def encoded(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.object_]:
        """The JPEG bytes, objects [M], of row numbers [M]."""
        starts, ends = self._starts[rows], self._ends[rows]
        order = np.argsort(starts)
        self._paging.expect_bytes(starts[order], ends[order])
        bounds = zip(starts.tolist(), ends.tolist(), strict=True)
        found = np.empty(len(rows), object)
        found[:] = [self._encoded[start:end].tobytes() for start, end in bounds]
        return found

    def read(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The images uint8 [M, H, W, C] of row numbers [M]."""
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def place(i: int, encoded: bytes) -> None:
            images[i] = decode(encoded, self.shape[1:])

        found = self.encoded(rows)
        if len(rows) < _FEW:
            for i, encoded in enumerate(found):
                place(i, encoded)
        else:
            with ThreadPoolExecutor(available_cpus()) as pool:
                list(pool.map(place, range(len(rows)), found))
        return images

    def chosen(self, rows: npt.NDArray[Any]) -> JpegImages:
        """Some of the images, of row numbers [M]; nothing is read or copied."""
        height, width, channels = self.shape[1:]
        return JpegImages(self._encoded, self._starts[rows], self._ends[rows], (height, width, channels))

    def parts(self) -> Iterator[Any]:
        """The compressed images and their lengths: what is decoded is a function of them."""
        yield np.ascontiguousarray(self._ends - self._starts).data
        for row in range(len(self)):
            yield from self.encoded(np.array([row]))
