# SPDX-License-Identifier: MIT
"""What one request may ask for, and the check of a picture before it is decoded."""

from __future__ import annotations

import dataclasses
import functools
import io

from PIL import Image, UnidentifiedImageError

from fslcore.arguments import ArgumentError, check_at_least

# By content, never by name. Formats of photographs and drawings whose readers take files of strangers.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
# Such pictures are decoded in the thread of the batch; larger ones must not hold up the others.
SMALL_PIXELS = 250_000


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the service accepts; more is refused before it costs anything.

    Attributes:
        body_bytes: Bytes of one request.
        pixels: Pixels of one picture, as its header says.
        pictures: Pictures of one request.
        labels: Labels of one request.
        label_length: Characters of a label.
        waiting: Pictures that wait for an answer, of all requests together.
        held_bytes: Bytes of all requests that are being read or answered.
        seconds: Time for a request to arrive.

    Raises:
        ArgumentError: A limit is below 1.
    """

    body_bytes: int = 32 * 2**20
    pixels: int = 50_000_000
    pictures: int = 64
    labels: int = 1000
    label_length: int = 200
    waiting: int = 1024
    held_bytes: int = 256 * 2**20
    seconds: int = 30

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_at_least(field.name, getattr(self, field.name), 1)


def opened_picture(content: bytes, limits: Limits) -> Image.Image:
    """Looks at the header of an encoded picture.

    Args:
        content: The bytes of a file.
        limits: `pixels` is compared.

    Returns:
        The picture, not decoded yet.

    Raises:
        ArgumentError: The content is no picture of a format in `FORMATS`, or it has too many pixels.
    """
    if not content:
        raise ArgumentError("images", "must be pictures", described="an empty file")
    try:
        image = Image.open(io.BytesIO(content), formats=_readable())
    except UnidentifiedImageError:
        raise ArgumentError(
            "images",
            f"must be pictures ({', '.join(_readable())})",
            described=f"{len(content)} bytes that are none",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # Pillow's own limits
        raise _too_large(limits, str(error)) from None
    except Exception as error:  # a damaged header, of which each format raises its own
        raise ArgumentError(
            "images",
            "must be pictures that can be read",
            described=f"{len(content)} bytes: {error or type(error).__name__}",
        ) from error
    if image.width * image.height > limits.pixels:
        raise _too_large(limits, f"{image.width} x {image.height} pixels")
    return image


def _too_large(limits: Limits, described: str) -> ArgumentError:
    return ArgumentError("images", f"must have at most {limits.pixels} pixels each", described=described)


@functools.cache
def _readable() -> tuple[str, ...]:
    from fslcore.data import pictures

    known = pictures.formats()  # HEIF where pillow-heif is installed
    return tuple(name for name in FORMATS if name in known)
