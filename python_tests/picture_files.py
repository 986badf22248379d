# SPDX-License-Identifier: MIT
"""Files of pictures of all kinds that exported classifiers read, by name."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112


def noisy(height, width, channels, seed=0):
    """A smooth picture with noise, uint8 [height, width, channels]."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 90 * np.sin(x / 9 + c) * np.cos(y / (7 + c)) for c in range(channels)]
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, channels))
    return (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)


def encoded(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def png_of_16_bits(values):
    """A PNG of uint16 [height, width, 3 or 4], which Pillow does not write."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    height, width, bands = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _files():
    gray, colours = Image.fromarray(noisy(40, 53, 1)[..., 0]), Image.fromarray(noisy(40, 53, 3))
    clear = colours.copy()
    clear.putalpha(Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 53), dtype=np.uint8)))
    deep = Image.fromarray((noisy(40, 53, 1)[..., 0].astype(np.uint16) << 8) + 77)
    yield "gray", encoded(gray, "PNG")
    yield "colours", encoded(colours, "PNG")
    yield "clear", encoded(clear, "PNG")
    yield "clear gray", encoded(clear.convert("LA"), "PNG")
    yield "palette", encoded(colours.quantize(64), "PNG")
    yield "small palette", encoded(colours.quantize(4), "PNG")
    yield "clear palette", encoded(colours.quantize(4), "PNG", transparency=1)
    yield "one clear colour", encoded(colours, "PNG", transparency=colours.getpixel((3, 3)))
    yield "one clear gray", encoded(gray, "PNG", transparency=100)
    yield "one bit", encoded(gray.convert("1"), "PNG")
    yield "16 bits", encoded(deep, "PNG")
    yield "jpeg", encoded(colours, "JPEG", quality=90)
    yield "jpeg 4:4:4", encoded(colours, "JPEG", quality=60, subsampling="4:4:4")
    yield "jpeg gray", encoded(gray, "JPEG")
    yield "jpeg progressive", encoded(colours, "JPEG", progressive=True)
    yield "jpeg cmyk", encoded(colours.convert("CMYK"), "JPEG")
    yield "bmp", encoded(colours, "BMP")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        exif[0x010F] = "a maker"
        yield f"turned {orientation}", encoded(colours, "JPEG", exif=exif)
    big_endian = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x05\0\0\0\0\0\0"
    yield "big endian", encoded(colours, "JPEG", exif=big_endian)
    yield "turned png", encoded(colours, "PNG", exif=exif)


FILES = dict(_files())
