# SPDX-License-Identifier: MIT
"""Image files of every depth and kind of colour: what 8 bits they become, and what had to be guessed."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from picture_files import png_of_16_bits
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import load, pictures

SIZE = 16
RAMP = np.linspace(0, 1, SIZE * SIZE).reshape(SIZE, SIZE)


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.ndim == 3 and values.dtype == np.uint16:
        path.write_bytes(png_of_16_bits(values))
    else:
        Image.fromarray(values).save(path)


def loaded(root, **arguments):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        store = load(root, image_size=SIZE, **arguments)
    return store, "; ".join(str(one.message) for one in said)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("form", ["png", "tif", "rgb", "rgba", "int32"])
def test_deep_images_keep_their_levels(tmp_path, form, bits):
    white = 2**bits - 1
    ramp = np.rint(RAMP * white).astype(np.int32 if form == "int32" else np.uint16)
    if form in ("rgb", "rgba"):
        ramp = np.stack([ramp] * 3 + [np.full_like(ramp, 65535)] * (form == "rgba"), axis=-1)
    for name in ("a/1", "a/2", "b/1"):
        write(tmp_path / f"{name}.{'png' if form in ('png', 'rgb', 'rgba') else 'tif'}", ramp)
    for _ in range(2):  # built, then from the cache
        store, said = loaded(tmp_path)
        image = store.images[0, ..., 0]
        np.testing.assert_array_equal(image, np.rint(RAMP * white).astype(int) >> (bits - 8))
        assert len(np.unique(image)) > 200
        guess = (
            f"3 files with more than 8 bits have values up to {white} and are taken for images of {bits} bits"
        )
        assert (guess in said) == (bits < 16)


def test_one_scale_is_for_all_images_of_a_folder(tmp_path):
    write(tmp_path / "a" / "1.png", np.full((SIZE, SIZE), 4095, np.uint16))
    write(tmp_path / "a" / "2.png", np.full((SIZE, SIZE), 200, np.uint16))
    write(tmp_path / "b" / "1.png", np.full((SIZE, SIZE), 77, np.uint8))
    store, _ = loaded(tmp_path)
    assert store.images[:, 0, 0, 0].tolist() == [255, 200 >> 4, 77]


def test_dark_images_among_deep_ones_are_said(tmp_path):
    write(tmp_path / "a" / "1.png", np.full((SIZE, SIZE), 60000, np.uint16))
    write(tmp_path / "b" / "1.png", np.full((SIZE, SIZE), 4000, np.uint16))
    store, said = loaded(tmp_path)
    assert store.images[:, 0, 0, 0].tolist() == [60000 >> 8, 4000 >> 8]
    assert "1 of 2 files with 16 bits have no value above 4095" in said


@pytest.mark.parametrize("white", [1, 255])
def test_floating_point_images_are_scaled(tmp_path, white):
    for name in ("a/1", "b/1"):
        write(tmp_path / f"{name}.tif", (RAMP * white).astype(np.float32))
    store, said = loaded(tmp_path)
    assert np.abs(store.images[0, ..., 0] - 255 * RAMP).max() <= 1
    assert f"2 files hold floating-point values: {white} is white" in said


@pytest.mark.parametrize(
    "values",
    [
        np.float32(RAMP * 70000),
        np.float32(RAMP - 0.5),
        np.where(RAMP > 0.5, np.float32("nan"), np.float32(RAMP)),
        np.where(RAMP > 0.5, np.float32("inf"), np.float32(RAMP)),
        np.int32(RAMP * 100) - 50,
    ],
    ids=["beyond 255", "negative", "NaN", "inf", "negative integers"],
)
def test_values_that_are_no_brightness_are_refused(tmp_path, values):
    write(tmp_path / "a" / "1.tif", values)
    write(tmp_path / "b" / "1.tif", np.full((SIZE, SIZE), 7, np.uint8))
    with pytest.raises(
        ArgumentError, match=r"1\.tif, which cannot be read: its values, from .* no brightness"
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    ("mode", "ending", "channels"),
    [
        ("1", "png", 1),
        ("1", "tif", 1),
        ("P", "png", 1),
        ("L", "png", 1),
        ("LA", "png", 1),
        ("RGBA", "png", 3),
        ("CMYK", "jpg", 3),
        ("CMYK", "tif", 3),
        ("YCbCr", "tif", 3),
    ],
)
def test_every_kind_of_colour_keeps_its_brightness(tmp_path, mode, ending, channels):
    bright = np.where(np.arange(SIZE) < SIZE // 2, 0, 255).astype(np.uint8) * np.ones((SIZE, 1), np.uint8)
    for name in ("a", "b"):
        path = tmp_path / name / f"1.{ending}"
        path.parent.mkdir()
        Image.fromarray(bright).convert("RGB" if mode == "CMYK" else "L").convert(mode).save(path)
    try:
        Image.open(path).load()
    except OSError as error:
        pytest.skip(f"this Pillow cannot read what it wrote: {error}")
    store, said = loaded(tmp_path)
    assert (said, store.image_shape[2]) == ("", channels)
    assert np.abs(store.images[0, ..., 0].astype(int) - bright).max() <= 4  # JPEG is not exact


def test_deep_colours_are_turned_as_their_camera_says(tmp_path):
    values = np.rint(np.stack([RAMP] * 3, axis=-1) * 4095).astype(np.uint16)
    content = png_of_16_bits(values)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"  # upside down
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(content[:33] + chunk + content[33:])
    write(tmp_path / "b" / "1.png", values)
    store, _ = loaded(tmp_path)
    np.testing.assert_array_equal(store.images[0], store.images[1, ::-1, ::-1])


def test_pages_that_are_not_read_are_said(tmp_path):
    page = Image.fromarray(np.zeros((SIZE, SIZE), np.uint8))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        page.save(tmp_path / name / "1.tif", save_all=True, append_images=[page] * (name == "b"))
        page.save(tmp_path / name / "1.gif", save_all=True, append_images=[page])
    assert loaded(tmp_path)[1].endswith("1 TIFF files hold several pages, of which the first is read")


def test_the_decoded_pixels_of_all_threads_are_bounded(monkeypatch):
    room, inside, most = pictures._Room(10_000), [], []

    def hold(image):
        with room.taken(image):
            inside.append(image.width * image.height)
            most.append(sum(inside))
            inside.remove(image.width * image.height)

    images = [Image.new("L", (60, 60)), Image.new("L", (100, 90)), Image.new("L", (1000, 1000))] * 20
    threads = [threading.Thread(target=hold, args=(image,)) for image in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == len(images)
    assert max(most) == 1_000_000  # one larger than the room, alone
    assert max(pixels for pixels in most if pixels < 1_000_000) <= 10_000


def test_a_bomb_is_named_and_large_photographs_make_no_noise(tmp_path, monkeypatch):
    write(tmp_path / "a" / "1.png", np.zeros((SIZE, SIZE), np.uint8))
    write(tmp_path / "b" / "1.png", np.zeros((SIZE, 2 * SIZE), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE * SIZE)
    assert loaded(tmp_path)[1] == ""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE * SIZE // 2 - 1)
    with pytest.raises(ArgumentError, match=r"2 broken of 2: .*decompression bomb"):
        load(tmp_path, image_size=8)
