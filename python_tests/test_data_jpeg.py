# SPDX-License-Identifier: MIT
"""Small JPEGs that simplejpeg decodes: the pixels of Pillow, and everything else is left to Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import Preparation, jpeg, pictures
from fslcore.data.preparation import prepared


def picture(height, width, mode="RGB", seed=0):
    channels = {"L": (), "RGB": (3,), "CMYK": (4,)}[mode]
    values = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    return Image.fromarray(values, mode)


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def by_pillow(content):
    with Image.open(io.BytesIO(content)) as image:
        return image.mode, np.asarray(image)


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    mode=st.sampled_from(["L", "RGB"]),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    restart=st.integers(0, 3),
)
def test_the_pixels_are_those_of_pillow(height, width, mode, quality, subsampling, progressive, restart):
    content = encoded(
        picture(height, width, mode),
        quality=quality,
        subsampling=subsampling,
        progressive=progressive,
        restart_marker_blocks=restart,
    )
    header, pixels = pictures.small_jpeg(content)
    expected_mode, expected = by_pillow(content)
    assert header == pictures.Header(gray=expected_mode == "L")
    np.testing.assert_array_equal(pixels, expected.reshape(pixels.shape))


def turned(**options):
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(9, 12), exif=exif, **options)


LEFT_TO_PILLOW = {
    "turned": turned(),
    "with XMP": encoded(picture(9, 12), xmp=b"<x:xmpmeta/>"),
    "CMYK": encoded(picture(9, 12, "CMYK")),
    "large": encoded(Image.new("RGB", (501, 500))),
    "cut off": encoded(picture(40, 40))[:-200],
    "no JPEG": b"\x89PNG",
    "only its beginning": b"\xff\xd8\xff\xe0",
    "nothing": b"",
}


@pytest.mark.parametrize("content", LEFT_TO_PILLOW.values(), ids=LEFT_TO_PILLOW)
def test_everything_else_is_left_to_pillow(content):
    assert pictures.small_jpeg(content) is None


def test_a_bomb_is_left_to_pillow(monkeypatch):
    content = encoded(picture(9, 12))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert pictures.small_jpeg(content) is None
    with pytest.raises(ArgumentError, match="decompression bomb"):
        Preparation(8, 3)(content)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("box", [None, (1, 2, 7, 5), (0, 0, 12, 12)])
@pytest.mark.parametrize("size", [5, 12, 20])
def test_pictures_are_prepared_as_pillow_would(tmp_path, monkeypatch, mode, channels, box, size):
    path = tmp_path / "picture.jpg"
    path.write_bytes(encoded(picture(12, 12, mode)))
    way = Preparation(size, channels, "pad")
    quick = prepared(path, way, box), prepared(path.read_bytes(), way, box)
    monkeypatch.setattr(pictures, "small_jpeg", lambda content: None)
    for image in quick:
        np.testing.assert_array_equal(image, prepared(path, way, box))


def test_damage_of_an_image_that_is_kept_as_jpeg_is_an_error():
    content = jpeg.encode(np.asarray(picture(20, 20)))
    with pytest.raises(ValueError, match=r"JPEG|Corrupt|marker|header"):
        jpeg.decode(b"\0" * len(content), (20, 20, 3))
