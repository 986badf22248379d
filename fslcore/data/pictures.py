# SPDX-License-Identifier: MIT
"""One image file -> 8 bits, whatever its format, colours and depth; and the common depth of many files.

Files with more than 8 bits per value do not say how many of them are used: a camera of 12 bits writes files
of 16 bits whose values end at 4095. `Depth` finds that out from all files together.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

File = str | os.PathLike[str]
Source = File | bytes  # bytes are the content of a file

_GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")
# EPS starts another program; the others are only recognised, or are no images.
_NOT_READ = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
# Formats whose first bytes cannot be those of a text. The others are known by their endings only.
_KNOWN_BY_CONTENT = ("AVIF", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PSD", "QOI", "TIFF", "WEBP")
_PIXELS_AT_ONCE = 50_000_000  # held decoded by all threads together, 4 bytes each; one image may have more
_SMALL_PIXELS = 250_000  # so few need no room: all threads together hold little
_READ_AT_ONCE = 1 << 20  # bytes of a file
_ORIENTATION = 0x0112  # of EXIF
_PLAIN_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
# Where a JPEG may say that it is turned.
_JPEG_MARKS = (b"Exif\0", b"http://ns.adobe.com/")
# Where an image of these formats says that it is transparent, or turned.
_SPECIAL = frozenset(("exif", "Raw profile type exif", "transparency", "XML:com.adobe.xmp", "xmp"))
_DEPTHS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is read.

    Attributes:
        gray: Whether it has no colours.
        pages: Images in the file, of which the first is read; 1 for an animation.
        kind: "" for 8 bits per value, "integer" for more, "float" for floating-point values.
        most: The largest value of an image whose kind is not "".
    """

    gray: bool
    pages: int = 1
    kind: str = ""
    most: float = 0.0


_JPEG_HEADERS = {"L": Header(gray=True), "RGB": Header(gray=False)}
_JPEG_BEGINS = b"\xff\xd8\xff"
_JPEG_COLOURS = {"Gray": "GRAY", "YCbCr": "RGB"}


@dataclass(frozen=True)
class Depth:
    """How the values of deep images become 8 bits.

    Attributes:
        bits: How many bits the values of integer images have.
        unit: Whether the values of float images go from 0 to 1, and not to 255.
    """

    bits: int = 16
    unit: bool = True

    @classmethod
    def of(cls, headers: Sequence[Header]) -> Depth:
        """The depth of all images of a folder."""
        whole = int(max((header.most for header in headers if header.kind == "integer"), default=65535))
        bits = next((bits for bits in _DEPTHS if whole < 2**bits), whole.bit_length())
        return cls(bits, max((header.most for header in headers if header.kind == "float"), default=1.0) <= 1)

    def check(self, header: Header) -> None:
        """Raises ValueError for an image that is deeper than those that this depth was found from."""
        white = {"": None, "integer": 2**self.bits - 1, "float": 1 if self.unit else 255}[header.kind]
        if white is not None and header.most > white:
            raise ValueError(f"its values go up to {header.most:g}, and {white} is white")

    def in_words(self, headers: Sequence[Header]) -> list[str]:
        """What had to be guessed, one sentence each."""
        whole = [header for header in headers if header.kind == "integer"]
        floats = sum(header.kind == "float" for header in headers)
        said = []
        if whole and self.bits != 16:
            most = int(max(header.most for header in whole))
            said.append(
                f"{len(whole)} files with more than 8 bits have values up to {most} and are taken for images "
                f"of {self.bits} bits: {2**self.bits - 1} becomes white"
            )
        elif dark := sum(header.most < 4096 for header in whole):
            said.append(
                f"{dark} of {len(whole)} files with 16 bits have no value above 4095 and keep at most 16 "
                "levels, since others have larger values"
            )
        if floats:
            said.append(f"{floats} files hold floating-point values: {1 if self.unit else 255} is white")
        return said


def suffixes() -> frozenset[str]:
    """The endings, in lower case and with their dot, of the formats that are read."""
    read = formats()
    return frozenset(ending for ending, of in Image.registered_extensions().items() if of in read)


def is_picture(file: File) -> bool:
    """Whether the content of a file is that of an image, whatever its name."""
    try:
        with Image.open(file, formats=[name for name in formats() if name in _KNOWN_BY_CONTENT]):
            return True
    except Exception:  # depends on the format
        return False


def header(source: Source | None, image: Image.Image) -> Header:
    """What is known of an opened image before its values are scaled; raises what Pillow raises.

    Args:
        source: Where it comes from: the lower bits of deep colours are read from there. None only for an
            image that is decoded.
        image: The image.
    """
    if image.format == "JPEG" and image.mode in ("L", "RGB"):  # by far the most; they are never deep
        return _JPEG_HEADERS[image.mode]
    kind = kind_of(image)
    gray = _is_gray(image)
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    most = 0.0
    if kind:
        with room(image):
            values = _deep_values(source, image)[..., :3]
            least, most = float(values.min()), float(values.max())
        limit = 255.0 if kind == "float" else float(2**32)
        if not (np.isfinite([least, most]).all() and 0 <= least <= most <= limit):
            raise ValueError(
                f"its values, from {least:g} to {most:g}, are no brightness from 0 to 1 or to {limit:.0f}"
            )
    return Header(gray, pages, kind, most)


def flat(image: Image.Image, kind: str, channels: int, depth: Depth, source: Source | None) -> Image.Image:
    """The image upright, on white, with 8 bits per value, of mode "L" or "RGB"; raises what Pillow raises.

    Args:
        image: The image, which this may change.
        kind: What `kind_of` said of it before it was decoded.
        channels: 1 or 3.
        depth: How deep images become 8 bits.
        source: As for `header`.
    """
    mode = "L" if channels == 1 else "RGB"
    if _is_plain(image, kind):
        return image if image.mode == mode else image.convert(mode)
    shallow = _eight_bits(image, kind, depth, source)
    if shallow is not image:
        shallow.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    ImageOps.exif_transpose(shallow, in_place=True)
    shallow = _on_white(shallow)
    return shallow if shallow.mode == mode else shallow.convert(mode)


class _Room:
    """Limits the pixels that are held decoded at once, so that memory does not grow with the threads."""

    def __init__(self, pixels: int) -> None:
        self._most = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, image: Image.Image) -> Iterator[None]:
        """Waits until there is room for an image, and holds it."""
        pixels = min(self._most, image.width * image.height)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_ROOM = _Room(_PIXELS_AT_ONCE)
_NO_WAITING = contextlib.nullcontext()


def share_room(processes: int) -> None:
    """Leaves this process its share of the pixels that several processes may hold decoded at once."""
    global _ROOM
    _ROOM = _Room(_PIXELS_AT_ONCE // processes)


def room(image: Image.Image) -> AbstractContextManager[None]:
    """A context in which an image may be held decoded: it waits until others are done."""
    return _NO_WAITING if image.width * image.height <= _SMALL_PIXELS else _ROOM.taken(image)


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats that are read, as Pillow names them: its own, and those of pillow-heif if it is there."""
    Image.init()
    with contextlib.suppress(ImportError):
        pillow_heif = importlib.import_module("pillow_heif")
        pillow_heif.register_heif_opener()
    return tuple(name for name in Image.OPEN if name not in _NOT_READ)


def reads_heif() -> bool:
    """Whether pillow-heif is installed."""
    return "HEIF" in formats()


def small_jpeg(content: bytes | None) -> tuple[Header, npt.NDArray[np.uint8]] | None:
    """A small JPEG as Pillow would decode it, in a third of the time: uint8 [H, W, 1 or 3].

    Args:
        content: Of a file.

    Returns:
        None for all that is not a small JPEG without an orientation and without faults: Pillow reads that, or
        says what is wrong.
    """
    if not content or not content.startswith(_JPEG_BEGINS) or any(mark in content for mark in _JPEG_MARKS):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours not in _JPEG_COLOURS or height * width > _small_pixels():
            return None
        pixels = simplejpeg.decode_jpeg(content, _JPEG_COLOURS[colours])
    except ValueError:  # whatever libjpeg does not like, warnings too
        return None
    return _JPEG_HEADERS["L" if colours == "Gray" else "RGB"], pixels


def _small_pixels() -> int:
    """Few pixels, and no more than Pillow takes without calling them a bomb."""
    return min(_SMALL_PIXELS, Image.MAX_IMAGE_PIXELS or _SMALL_PIXELS)


def content_of(file: File) -> bytes | None:
    """The content of a file that is not large, read at once; None for others. Raises OSError."""
    number = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(number).st_size
        content = os.read(number, size + 1) if size <= _READ_AT_ONCE else b""
    finally:
        os.close(number)
    return content if content and len(content) == size else None


def opened(source: File | BinaryIO, content: bytes | None = None) -> Image.Image:
    """The image in a file, not decoded yet; to be closed. Raises what Pillow raises.

    Args:
        source: The file.
        content: What `content_of` says of it, if that has been asked.
    """
    if not isinstance(source, (str, os.PathLike)):
        return Image.open(source, formats=formats())
    ordered = _likely_first(os.path.splitext(os.fspath(source))[1].lower())
    content = content_of(source) if content is None else content
    if content is None:
        return Image.open(source, formats=ordered)
    try:
        return Image.open(io.BytesIO(content), formats=ordered)
    except UnidentifiedImageError:
        raise UnidentifiedImageError("it is of no format that Pillow reads") from None


@functools.cache
def _likely_first(ending: str) -> tuple[str, ...]:
    """The formats, first the one that files with this ending have, if their content shows it."""
    likely = Image.registered_extensions().get(ending)
    if likely not in _KNOWN_BY_CONTENT:
        return formats()
    return (likely, *(name for name in formats() if name != likely))


def _is_gray(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GRAY_MODES
    red, green, blue = np.reshape(image.getpalette(), (-1, 3)).T
    return bool(np.all(red == green) and np.all(green == blue))


def _is_plain(image: Image.Image, kind: str) -> bool:
    """Whether an image has 8 bits, no transparency and no orientation, as almost all have."""
    if kind or image.format not in _PLAIN_FORMATS or image.mode not in ("L", "RGB"):
        return False
    image.load()  # a PNG may have its orientation at the end
    return _SPECIAL.isdisjoint(image.info)


def kind_of(image: Image.Image) -> str:
    """The kind of an opened image, as `Header` has it; that of deep colours is lost once it is decoded."""
    if image.mode == "F":
        return "float"
    return "integer" if image.mode.startswith("I") or has_deep_colours(image) else ""


def _raw_mode(image: Image.Image) -> str:
    """How the values lie in the file, such as "RGB;16B"; Pillow reads only the upper 8 bits of colours."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return mode if isinstance(mode, str) else ""


def has_deep_colours(image: Image.Image) -> bool:
    """Whether the colours of an opened image have 16 bits in its file; False once it is decoded."""
    return image.mode in ("RGB", "RGBA") and ";16" in _raw_mode(image)


def _deep_values(source: Source | None, image: Image.Image) -> npt.NDArray[Any]:
    """The values of an image whose kind is not "", [height, width, bands]."""
    upper = np.atleast_3d(np.asarray(image))
    if image.mode not in ("RGB", "RGBA"):
        return upper
    if source is None:
        raise ValueError("its colours have 16 bits, and its file is needed to read them")
    # Read with the bytes of a value exchanged, Pillow's upper 8 bits are the lower ones.
    with opened(io.BytesIO(source) if isinstance(source, bytes) else source) as again:
        swapped = _raw_mode(again)[:-1] + {"B": "L", "L": "B"}.get(_raw_mode(again)[-1:], "")
        codec, box, offset, arguments = again.tile[0]
        arguments = (swapped, *arguments[1:]) if isinstance(arguments, tuple) else swapped
        again.tile = [(codec, box, offset, arguments), *again.tile[1:]]
        try:
            lower = np.asarray(again)
        except ValueError:  # compressed TIFF, gray with transparency: Pillow has no such mode
            return upper.astype(np.uint16) << 8
    return (upper.astype(np.uint16) << 8) | lower


def _eight_bits(image: Image.Image, kind: str, depth: Depth, source: Source | None) -> Image.Image:
    """An image of 8 bits per value; Pillow's own conversion of deeper ones would clip instead of scale."""
    if kind == "float" and depth.unit:
        return Image.fromarray(np.rint(np.clip(np.asarray(image), 0, 1) * 255.0).astype(np.uint8))
    if kind != "integer" or (depth.bits == 16 and image.mode in ("RGB", "RGBA")):
        return image
    # Transparency may use more bits than the colours do.
    values = np.minimum(_deep_values(source, image).astype(np.uint32) >> (depth.bits - 8), 255)
    return Image.fromarray((values[..., 0] if values.shape[2] == 1 else values).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """Transparent pixels to white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
