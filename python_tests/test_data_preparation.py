# SPDX-License-Identifier: MIT
"""`Preparation`: the same picture gives the same image, in whatever form it comes, as in the store."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from picture_files import png_of_16_bits
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import Preparation, load

HEIGHT, WIDTH = 20, 30


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def picture(channels=3, dtype=np.uint8, most=255):
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(0).integers(0, most + 1, shape).astype(dtype)


def triangle(size, small):
    """The weights of Pillow's bilinear filter from `size` pixels to `small`, [small, size]."""
    scale = size / small
    radius = max(scale, 1.0)
    centres = (np.arange(small) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centres[:, None]) / radius)
    return weights / weights.sum(axis=1, keepdims=True)


def shrunk(values, height, width):
    """An image [H, W, C] resized by its definition, in float64."""
    by_rows = np.einsum("ij,jkc->ikc", triangle(values.shape[0], height), values.astype(float))
    return np.einsum("ij,kjc->kic", triangle(values.shape[1], width), by_rows)


@pytest.mark.parametrize("size", [7, 20, 30, 41])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_a_picture_becomes_a_square(resize, size):
    values = picture()
    if resize == "crop":
        expected = shrunk(values[:, 5:25], size, size)
    elif resize == "stretch":
        expected = shrunk(values, size, size)
    else:
        inner = round(size * HEIGHT / WIDTH)
        expected = np.full((size, size, 3), 255.0)
        expected[(size - inner) // 2 :][:inner] = shrunk(values, inner, size)
    image = Preparation(size, 3, resize)(values)
    assert image.shape == (size, size, 3)
    assert np.abs(image - expected).max() <= 1.5  # Pillow rounds between the two passes


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_gives_the_image_of_the_store(tmp_path, channels, resize):
    values = picture(channels)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(values).save(tmp_path / name / "1.png")
    store = load(tmp_path, image_size=12, resize=resize)
    prepare = store.preparation
    assert prepare == Preparation(12, channels, resize)
    assert load(tmp_path, image_size=12, resize=resize).preparation == prepare  # from the cache
    assert Preparation.from_config(json.loads(json.dumps(prepare.to_config()))) == prepare
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    path = tmp_path / "a" / "1.png"
    forms = [path, str(path), buffer.getvalue(), Image.open(path), Image.fromarray(values), values]
    forms += [values / 255.0, (values / 255.0).astype(np.float32), values.astype(np.uint16) << 8]
    for form in forms:
        np.testing.assert_array_equal(prepare(form), store.images[0])
    if channels == 3:
        opaque = np.concatenate([values, np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=2)
        np.testing.assert_array_equal(prepare(opaque), store.images[0])
        np.testing.assert_array_equal(prepare(values), store.split(train=1)["train"].preparation(values))


def test_deep_pictures_are_scaled_as_those_of_the_store(tmp_path):
    for name, most in (("a", 4095), ("b", 1000)):
        (tmp_path / name).mkdir()
        Image.fromarray(picture(1, np.uint16, most)).save(tmp_path / name / "1.png")
    with pytest.warns(UserWarning, match="12 bits"):
        store = load(tmp_path, image_size=12)
    assert store.preparation == Preparation(12, 1, bits=12)
    np.testing.assert_array_equal(store.preparation(tmp_path / "b" / "1.png"), store.images[1])
    np.testing.assert_array_equal(store.preparation(picture(1, np.uint16, 1000)), store.images[1])
    with pytest.raises(ArgumentError, match="integers of 12 bits, received values up to"):
        store.preparation(picture(1, np.uint16, 60000))
    Image.fromarray(picture(1, np.uint16, 60000)).save(tmp_path / "c.png")
    with pytest.raises(ArgumentError, match=r"its values go up to .*, and 4095 is white"):
        store.preparation(tmp_path / "c.png")


def test_deep_colours_are_the_same_from_every_source(tmp_path):
    values = picture(3, np.uint16, 4095)
    content = png_of_16_bits(values)
    path = tmp_path / "a.png"
    path.write_bytes(content)
    prepare = Preparation(12, 3, bits=12)
    expected = Preparation(12, 3)((values >> 4).astype(np.uint8))
    for source in (path, str(path), content, values):
        np.testing.assert_array_equal(prepare(source), expected)
    for opened in (Image.open(path), Image.open(io.BytesIO(content))):
        np.testing.assert_array_equal(prepare.of_opened(opened), expected)
    bright = png_of_16_bits(values * 2)
    path.write_bytes(bright)
    for refused in (path, bright, values * 2):
        with pytest.raises(ArgumentError, match=r"4095 is white|integers of 12 bits"):
            prepare(refused)
    with pytest.raises(ArgumentError, match="4095 is white"):
        prepare.of_opened(Image.open(path))


def test_a_photograph_is_turned_and_transparency_is_white(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    values = np.zeros((8, 8), np.uint8)
    values[:, :4] = 255
    Image.fromarray(values).save(tmp_path / "a.jpg", exif=exif, quality=100)
    image = Preparation(8, 1)(tmp_path / "a.jpg")[..., 0]
    assert image[:3].min() > 239
    assert image[5:].max() < 16
    assert Preparation(8, 3)(np.zeros((8, 8, 4), np.uint8)).min() == 255


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((3, 9, 9)), r"float64 \[3, 9, 9\]: put its channels last, .transpose\(1, 2, 0\)"),
        (np.zeros((2, 9, 9, 3)), r"float64 \[2, 9, 9, 3\]"),
        (np.full((9, 9), 255.0), "values from 0 to 1 where they are floats, received values from 255 to 255"),
        (np.full((9, 9), np.nan), "received values from nan to nan"),
        (np.zeros((9, 9), np.int64), r"of uint8, unsigned integers or floats, received int64 \[9, 9\]"),
        (np.zeros((0, 9)), r"float64 \[0, 9\]"),
        (None, "received None"),
        ("no such.png", "a picture that can be read, received no such.png: .*No such file"),
        (b"no picture", "received 10 bytes: "),
    ],
)
def test_what_is_no_picture_is_refused(value, message):
    with pytest.raises(ArgumentError, match=f"^picture must .*{message}"):
        Preparation(8, 3)(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 0}, "image_size must be an integer of 1 or more"),
        ({"channels": 2}, "channels must be 1 or 3, received channels=2"),
        ({"resize": "fit"}, "resize must be one of stretch, crop, pad"),
        ({"bits": 7}, "bits must be an integer of 8 or more"),
        ({"bits": 40}, "bits must be at most 32"),
        ({"unit": 1}, "unit must be True or False"),
    ],
)
def test_attributes_are_checked(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Preparation(**{"image_size": 8, "channels": 3, **arguments})
    with pytest.raises(ArgumentError, match=message):
        Preparation.from_config({"image_size": 8, "channels": 3, **arguments})
    with pytest.raises(ArgumentError, match="config must be that of a Preparation"):
        Preparation.from_config({"image_size": 8})


def test_named_datasets_are_not_resized_otherwise():
    with pytest.raises(ArgumentError, match="resize must be 'stretch' for glyphs"):
        load("glyphs", resize="crop")
    with pytest.raises(
        ArgumentError, match="resize must be one of stretch, crop, pad, received resize='fit'"
    ):
        load("glyphs", resize="fit")
