# SPDX-License-Identifier: MIT
"""Files of pictures to upright pixels in plain TensorFlow, as `fslcore.data.pictures` reads them.

JPEG, PNG and BMP are decoded with the same libraries and settings as Pillow has. TensorFlow ignores the
orientation that a camera has written into a file, so it is found here.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.data import Preparation

Tensor = Any

FORMATS = "JPEG, PNG or BMP of 24 bits"

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_OF_PNG, _COLOURS_OF_PNG = 24, 25  # places of the bytes
_WITH_TRANSPARENCY = (4, 6)  # kinds of colours of PNG
_BITS_OF_BMP = 28  # place of two bytes
_ORIENTATION = 0x0112  # tag of EXIF
_MOST_ENTRIES = 512  # of an EXIF directory: more is damage
_TAIL = b"\0" * 16  # read behind the end of a damaged file


def decoded(content: Tensor, preparation: Preparation) -> Tensor:
    """The upright pixels of a file.

    Args:
        content: The bytes of a file, a string scalar.
        preparation: Says how many bits deep values have.

    Returns:
        uint8 [H, W, 3], or [H, W, 4] where a PNG file has transparency.
    """
    start = tf.strings.substr(content, 0, 8)
    is_jpeg = tf.strings.substr(start, 0, 3) == b"\xff\xd8\xff"
    is_png = start == _PNG
    is_bmp = tf.strings.substr(start, 0, 2) == b"BM"
    known = tf.debugging.Assert(
        is_jpeg | is_png | is_bmp, [f"image_bytes must be {FORMATS}, received", start]
    )
    with tf.control_dependencies([known]):
        content = tf.identity(content)

    def jpeg() -> Tensor:
        # Colours, even of a gray picture: the gray of colours is computed as Pillow does.
        picture = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        return _upright(picture, _orientation(content, _exif_of_jpeg(content)))

    def png() -> Tensor:
        return _upright(_png(content, preparation), _orientation(content, _chunk_of_png(content, b"eXIf")))

    def bmp() -> Tensor:
        bits = _number(content + _TAIL, _BITS_OF_BMP, 2, little=True)
        message = "image_bytes must be BMP of 24 bits, received bits"
        with tf.control_dependencies([tf.debugging.Assert(bits == 24, [message, bits])]):
            return tf.io.decode_bmp(content, channels=3)

    return tf.case([(is_jpeg, jpeg), (is_png, png)], default=bmp, exclusive=True)


def cut(picture: Tensor, window: Tensor) -> Tensor:
    """The part of a picture in a window int32 [4]: y, x, height, width; four zeros are all of it."""
    size = tf.shape(picture)[:2]
    place, extent = window[:2], window[2:]
    whole = tf.reduce_all(window == 0)
    inside = whole | tf.reduce_all((place >= 0) & (extent >= 1) & (place + extent <= size))
    message = "crop_window must be y, x, height and width inside the picture, or four zeros, received"
    with tf.control_dependencies([tf.debugging.Assert(inside, [message, window, "for pixels", size])]):
        extent = tf.where(whole, size, extent)
    return picture[place[0] : place[0] + extent[0], place[1] : place[1] + extent[1]]


def _png(content: Tensor, preparation: Preparation) -> Tensor:
    """uint8 [H, W, 3], or [H, W, 4] where the file has transparency."""
    padded = content + _TAIL
    has_channel = tf.reduce_any(_number(padded, _COLOURS_OF_PNG, 1) == _WITH_TRANSPARENCY)
    # Asked for transparency that a file does not have, TensorFlow invents it, which is wrong below 8 bits.
    transparent = has_channel | (_chunk_of_png(content, b"tRNS", until=b"IDAT") > 0)
    is_deep = _number(padded, _DEPTH_OF_PNG, 1) == 16

    def as_it_is(dtype: tf.DType) -> Tensor:
        return tf.cond(
            transparent,
            lambda: tf.io.decode_png(content, channels=4, dtype=dtype),
            lambda: tf.io.decode_png(content, channels=3, dtype=dtype),
        )

    def deep() -> Tensor:
        values = tf.cast(as_it_is(tf.uint16), tf.int32)
        white = 2**preparation.bits - 1
        most = tf.reduce_max(values[..., :3])
        message = f"image_bytes must have values of {preparation.bits} bits, received values up to"
        with tf.control_dependencies([tf.debugging.Assert(most <= white, [message, most])]):
            return tf.cast(tf.minimum(tf.bitwise.right_shift(values, preparation.bits - 8), 255), tf.uint8)

    return tf.cond(is_deep, deep, lambda: as_it_is(tf.uint8))


def _upright(picture: Tensor, orientation: Tensor) -> Tensor:
    """The picture turned as its camera says: an EXIF orientation from 1 to 8."""

    def among(*orientations: int) -> Tensor:
        return tf.reduce_any(orientation == list(orientations))

    def turned() -> Tensor:
        upright = tf.cond(among(5, 6, 7, 8), lambda: tf.transpose(picture, (1, 0, 2)), lambda: picture)
        upright = tf.cond(among(3, 4, 7, 8), lambda: upright[::-1], lambda: upright)
        return tf.cond(among(2, 3, 6, 7), lambda: upright[:, ::-1], lambda: upright)

    return tf.cond((orientation > 1) & (orientation < 9), turned, lambda: picture)


def _exif_of_jpeg(content: Tensor) -> Tensor:
    """Where the EXIF data of a JPEG file begin, 0 if it has none: in a segment before the first scan."""
    padded, size = content + _TAIL, tf.strings.length(content)

    def goes_on(at: Tensor, found: Tensor) -> Tensor:
        marker = _number(padded, at, 2)
        return (found == 0) & (at + 4 <= size) & (marker >= 0xFF00) & (marker != 0xFFDA)

    def next_one(at: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        marker, length = _number(padded, at, 2), _number(padded, at + 2, 2)
        is_exif = (marker == 0xFFE1) & (_piece(padded, at + 4, 6) == b"Exif\0\0")
        # A marker may stand behind any number of bytes 0xFF.
        return at + tf.where(marker == 0xFFFF, 1, 2 + length), tf.where(is_exif, at + 10, 0)

    return tf.while_loop(goes_on, next_one, (2, 0))[1]


def _chunk_of_png(content: Tensor, name: bytes, until: bytes = b"IEND") -> Tensor:
    """Where the data of the first chunk of a name begin, 0 if there is none before `until`."""
    padded, size = content + _TAIL, tf.strings.length(content)

    def goes_on(at: Tensor, found: Tensor) -> Tensor:
        ended = _piece(padded, at + 4, 4) == until
        return (found == 0) & (at >= len(_PNG)) & (at + 8 <= size) & ~ended

    def next_one(at: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        is_it = _piece(padded, at + 4, 4) == name
        return at + 12 + _number(padded, at, 4), tf.where(is_it, at + 8, 0)

    return tf.while_loop(goes_on, next_one, (len(_PNG), 0))[1]


def _orientation(content: Tensor, exif: Tensor) -> Tensor:
    """The orientation in EXIF data that begin at a place of a file; 1 if there is none."""
    padded = content + _TAIL

    def read() -> Tensor:
        little = _piece(padded, exif, 2) == b"II"
        directory = exif + _number(padded, exif + 4, 4, little)
        entries = tf.minimum(_number(padded, directory, 2, little), _MOST_ENTRIES)

        def goes_on(i: Tensor, found: Tensor) -> Tensor:
            return (found == 0) & (i < entries)

        def next_one(i: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            entry = directory + 2 + 12 * i
            is_it = _number(padded, entry, 2, little) == _ORIENTATION
            return i + 1, tf.where(is_it, _number(padded, entry + 8, 2, little), 0)

        return tf.while_loop(goes_on, next_one, (0, 0))[1]

    return tf.cond(exif > 0, read, lambda: 1)


def _piece(padded: Tensor, at: Tensor, size: int) -> Tensor:
    """Bytes of a file that `_TAIL` follows; those behind its end, where it is damaged, are zeros."""
    end = tf.strings.length(padded) - len(_TAIL)
    return tf.strings.substr(padded, tf.where((at >= 0) & (at <= end), at, end), size)


def _number(padded: Tensor, at: Tensor | int, size: int, little: Tensor | bool = False) -> Tensor:
    """An unsigned integer of a file, int32."""
    values = tf.cast(tf.io.decode_raw(_piece(padded, tf.convert_to_tensor(at), size), tf.uint8), tf.int32)
    values = tf.where(little, values[::-1], values)
    return tf.reduce_sum(values * [256**i for i in reversed(range(size))])
