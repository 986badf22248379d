# SPDX-License-Identifier: MIT
"""`Preparation`: how a picture of any kind becomes an image of a store.

A store keeps the preparation that its images were made by, and a run saves it, so that a new picture is
prepared exactly as those of the training were.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.arguments import ArgumentError, check_one_of
from fslcore.data import pictures
from fslcore.data.checks import check_count, form
from fslcore.data.pictures import Depth, File, Header

RESIZES = ("stretch", "crop", "pad")
Box = tuple[int, int, int, int]

_CHANNELS = (1, 3)
_MOST_BITS = 32
_READABLE = "must be a picture that can be read"


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Turns a picture into uint8 `[image_size, image_size, channels]`.

    The picture is turned as its camera says, transparent pixels become white, deep values are scaled to 8
    bits, and it is made a square and resized with Pillow's antialiased bilinear filter.

    Attributes:
        image_size: Height and width of the result in pixels.
        channels: 1 for grayscale (the luma of ITU-R 601-2), 3 for RGB.
        resize: How a picture that is not square becomes one. "stretch": both sides are scaled alone. "crop":
            the largest square in its middle. "pad": all of it, in the middle of a white square.
        bits: How many bits an integer has in pictures with more than 8 of them: 2^bits - 1 is white.
        unit: Whether floating-point pictures go from 0 to 1, and not to 255.

    Raises:
        ArgumentError: An attribute is out of range.

    Example:
        >>> prepare = Preparation(28, 1, resize="pad")
        >>> prepare(np.zeros((40, 60), np.uint8)).shape
        (28, 28, 1)
        >>> Preparation.from_config(prepare.to_config()) == prepare
        True
    """

    image_size: int
    channels: int
    resize: str = "stretch"
    bits: int = 16
    unit: bool = True

    def __post_init__(self) -> None:
        check_count("image_size", self.image_size, 1)
        check_count("channels", self.channels, 1)
        if self.channels not in _CHANNELS:
            raise ArgumentError("channels", "must be 1 or 3", self.channels)
        check_one_of("resize", self.resize, RESIZES)
        check_count("bits", self.bits, 8)
        if self.bits > _MOST_BITS:
            raise ArgumentError("bits", f"must be at most {_MOST_BITS}", self.bits)
        if not isinstance(self.unit, bool):
            raise ArgumentError("unit", "must be True or False", self.unit)

    def __call__(self, picture: Any) -> npt.NDArray[np.uint8]:
        """Prepares one picture.

        Args:
            picture: A path; the content of a file, as bytes; a Pillow image; or an array or tensor [H, W] or
                [H, W, C] with 1 (gray), 3 (RGB) or 4 (RGB and transparency) channels: uint8, or floats from
                0 to 1, or unsigned integers of `bits` bits.

        Returns:
            uint8 `[image_size, image_size, channels]`.

        Raises:
            ArgumentError: The picture cannot be read, is of another form, or its values are out of range.
        """
        if isinstance(picture, Image.Image):
            return self._read(picture.copy(), "a Pillow image")
        if isinstance(picture, (str, os.PathLike)):
            path = Path(picture).expanduser()
            return self._read(path, str(path))
        if isinstance(picture, (bytes, bytearray, memoryview)):
            return self._read(bytes(picture), f"{len(picture)} bytes")
        return self._read(_as_picture(picture, self), "an array")

    def of_opened(self, image: Image.Image, described: str = "an opened file") -> npt.NDArray[np.uint8]:
        """Prepares a picture that Pillow has opened and not decoded yet, which is as to give the file itself.

        Args:
            image: The picture, which is closed afterwards.
            described: What it is, for an error.

        Raises:
            ArgumentError: As for a file.
        """
        return self._read(image, described)

    def to_config(self) -> dict[str, Any]:
        """The attributes as JSON takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preparation:
        """The preparation that `to_config` describes.

        Raises:
            ArgumentError: An attribute is missing, is not known, or is out of range.
        """
        try:
            return cls(**config)
        except TypeError as error:
            raise ArgumentError(
                "config", "must be that of a Preparation", config, described=f"{config!r}: {error}"
            ) from error

    @property
    def depth(self) -> Depth:
        """How deep values are scaled."""
        return Depth(self.bits, self.unit)

    def _read(self, source: File | bytes | Image.Image, described: str) -> npt.NDArray[np.uint8]:
        try:
            return prepared(source, self, check=self.depth.check)
        # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
        except Exception as error:
            raise ArgumentError(
                "picture", _READABLE, described, described=f"{described}: {error or type(error).__name__}"
            ) from error


def prepared(
    source: File | bytes | Image.Image,
    preparation: Preparation,
    box: Box | None = None,
    check: Callable[[Header], object] | None = None,
) -> npt.NDArray[np.uint8]:
    """A picture uint8 [S, S, C]; raises what Pillow raises.

    Args:
        source: A file, the content of one, or a Pillow image, which is closed.
        preparation: What becomes of it.
        box: The part of the upright picture to take: y, x, height, width; None for all of it.
        check: Called with what is known of the picture; it may raise. For pictures of more than 8 bits, that
            takes as long as reading them.
    """
    content = _content(source)
    if (found := pictures.small_jpeg(content)) is not None:
        header, pixels = found
        if check is not None:
            check(header)
        size = preparation.image_size
        if box is None and pixels.shape == (size, size, preparation.channels):
            return pixels
        flat = Image.fromarray(pixels[..., 0] if header.gray else pixels)
        flat = flat.convert("L" if preparation.channels == 1 else "RGB")
        return fitted(cut(flat, box), size, preparation.resize)
    whole = source if isinstance(source, (str, os.PathLike)) else content
    with _opened(source, content) as image:
        kind = pictures.kind_of(image)
        if check is not None:
            check(pictures.header(whole, image))
        with pictures.room(image):
            flat = pictures.flat(image, kind, preparation.channels, preparation.depth, whole)
            return fitted(cut(flat, box), preparation.image_size, preparation.resize)


def _content(source: File | bytes | Image.Image) -> bytes | None:
    """What a picture is decoded from; None for a large file, and for an image that is read only once."""
    if isinstance(source, bytes):
        return source
    if not isinstance(source, Image.Image):
        return pictures.content_of(source)
    if not pictures.has_deep_colours(source):
        return None
    source.fp.seek(0)  # Pillow finds the place of the values again when it decodes them
    return source.fp.read()


def _opened(source: File | bytes | Image.Image, content: bytes | None) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    return pictures.opened(io.BytesIO(source) if isinstance(source, bytes) else source, content)


def cut(image: Image.Image, box: Box | None) -> Image.Image:
    """The part of a picture in a box (y, x, height, width), or a ValueError if it lies outside."""
    if box is None:
        return image
    top, left, height, width = box
    if (
        min(top, left) < 0
        or min(height, width) < 1
        or top + height > image.height
        or left + width > image.width
    ):
        raise ValueError(
            f"the crop from y={top}, x={left} with height {height} and width {width} is not inside its "
            f"{image.height} x {image.width} pixels"
        )
    return image.crop((left, top, left + width, top + height))


def fitted(image: Image.Image, size: int, resize: str) -> npt.NDArray[np.uint8]:
    """A picture of mode "L" or "RGB" as uint8 [size, size, channels]; `resize` as for `Preparation`."""
    width, height = image.size
    if (width, height) == (size, size):
        small = image
    elif resize == "stretch" or width == height:
        small = image.resize((size, size), Image.Resampling.BILINEAR)
    elif resize == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        small = square.resize((size, size), Image.Resampling.BILINEAR)
    else:
        scale = size / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        small = Image.new(image.mode, (size, size), "white")
        place = (size - inner[0]) // 2, (size - inner[1]) // 2
        small.paste(image.resize(inner, Image.Resampling.BILINEAR), place)
    return np.frombuffer(small.tobytes(), np.uint8).reshape(size, size, -1)


def _as_picture(values: Any, preparation: Preparation) -> Image.Image:
    """An array as a Pillow image of 8 bits, or an ArgumentError."""
    array = np.asarray(values)
    allowed = "must be a path, bytes, a Pillow image, or an array [H, W] or [H, W, C] with 1, 3 or 4 channels"
    flat = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if array.dtype.kind not in "uf" or not array.size or flat.ndim not in (2, 3):
        described = form(array) if array.dtype.kind in "biufc" else repr(values)
        raise ArgumentError(
            "picture", f"{allowed}, of uint8, unsigned integers or floats", values, described=described
        )
    if flat.ndim == 3 and flat.shape[2] not in (3, 4):
        first = flat.shape[0] in (1, 3, 4)
        raise ArgumentError(
            "picture",
            allowed,
            values,
            described=form(array) + (": put its channels last, .transpose(1, 2, 0)" if first else ""),
        )
    least, most = flat.min(), flat.max()
    if flat.dtype.kind == "f":
        if not (np.isfinite([least, most]).all() and 0 <= least <= most <= 1):
            raise ArgumentError(
                "picture",
                "must have values from 0 to 1 where they are floats",
                values,
                described=f"values from {least:g} to {most:g}",
            )
        flat = np.rint(flat * 255.0)
    elif flat.dtype != np.uint8:
        if int(most) >= 2**preparation.bits:
            raise ArgumentError(
                "picture",
                f"must have integers of {preparation.bits} bits",
                values,
                described=f"values up to {most}",
            )
        flat = flat >> (preparation.bits - 8)
    return Image.fromarray(flat.astype(np.uint8))
