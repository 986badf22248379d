# SPDX-License-Identifier: MIT
"""Exported classifiers prepare pictures as Pillow does, to the last bit."""

import io

import numpy as np
import pytest
import tensorflow as tf
from picture_files import FILES, noisy
from PIL import Image

from fslcore.classifier.export import preparing, resizing
from fslcore.data import Preparation
from fslcore.data.preparation import prepared

PREPARATIONS = (
    Preparation(14, 1),
    Preparation(20, 3, "crop"),
    Preparation(16, 3, "pad"),
    Preparation(9, 1, "pad"),
)
BY_NAME = pytest.mark.parametrize("preparation", PREPARATIONS, ids=lambda p: f"{p.resize}{p.channels}")


def traced(function, *specs):
    return tf.function(function, autograph=False, input_signature=specs)


@BY_NAME
def test_arrays_become_what_pillow_makes_of_them(preparation):
    any_size = (None, None, None, None)
    of_pixels = traced(lambda x: preparing.of_pixels(x, preparation), tf.TensorSpec(any_size, tf.uint8))
    of_floats = traced(lambda x: preparing.of_floats(x, preparation), tf.TensorSpec(any_size, tf.float32))
    for height, width in ((50, 60), (200, 31), (14, 14), (7, 9), (1, 1)):
        for channels in (1, 3, 4):
            pictures = np.stack([noisy(height, width, channels, seed) for seed in (1, 2)])
            wanted = np.stack([preparation(picture) for picture in pictures])
            np.testing.assert_array_equal(of_pixels(pictures), wanted)
            floats = np.random.default_rng(0).random((1, height, width, channels), dtype=np.float32)
            np.testing.assert_array_equal(of_floats(floats)[0], preparation(floats[0]))


@pytest.mark.parametrize("preparation", PREPARATIONS[::2], ids=lambda p: f"{p.resize}{p.channels}")
def test_files_become_what_pillow_makes_of_them(preparation):
    of_files = traced(lambda x: preparing.of_files(x, preparation), tf.TensorSpec((None,), tf.string))
    found = of_files(list(FILES.values())).numpy()
    wanted = [preparation(content) for content in FILES.values()]
    assert [name for name, a, b in zip(FILES, found, wanted, strict=True) if (a != b).any()] == []


def test_a_part_of_a_file_is_that_of_the_upright_picture(tmp_path):
    preparation = PREPARATIONS[1]
    of_parts = traced(
        lambda x, windows: preparing.of_files(x, preparation, windows),
        tf.TensorSpec((None,), tf.string),
        tf.TensorSpec((None, 4), tf.int32),
    )
    (tmp_path / "turned.jpg").write_bytes(FILES["turned 6"])
    found = of_parts([FILES["turned 6"], FILES["clear"]], [[3, 5, 30, 20], [0, 0, 0, 0]]).numpy()
    np.testing.assert_array_equal(found[0], prepared(tmp_path / "turned.jpg", preparation, (3, 5, 30, 20)))
    np.testing.assert_array_equal(found[1], preparation(FILES["clear"]))


def test_values_of_12_bits_are_scaled_and_deeper_ones_refused():
    def file(most):
        content = io.BytesIO()
        Image.fromarray(np.linspace(0, most, 90, dtype=np.uint16).reshape(9, 10)).save(content, "PNG")
        return content.getvalue()

    preparation = Preparation(6, 1, bits=12)
    of_files = traced(lambda x: preparing.of_files(x, preparation), tf.TensorSpec((None,), tf.string))
    np.testing.assert_array_equal(of_files([file(4095)])[0], preparation(file(4095)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have values of 12 bits"):
        of_files([file(4096)])


def test_the_order_of_the_directions_is_that_of_pillow(monkeypatch):
    """A tall picture shows it; the blocks of large pictures change nothing."""
    picture = noisy(300, 50, 3)
    wanted = Preparation(24, 3)(picture)
    for values in (2**22, 1000):
        monkeypatch.setattr(resizing, "_BLOCK_VALUES", values)
        found = resizing.resized(tf.constant(picture), 24, 24, 3, lambda rows: rows)
        np.testing.assert_array_equal(found, wanted)
    monkeypatch.setattr(resizing, "_reduces_tall_pictures_first", lambda: False)
    other = resizing.resized(tf.constant(picture), 24, 24, 3, lambda rows: rows)
    assert 0 < np.abs(other.numpy().astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("name", ["no bytes", "a start", "half"])
def test_damaged_files_are_refused(name):
    content = {"no bytes": b"", "a start": b"\x89PNG\r\n\x1a\n", "half": FILES["jpeg"][:400]}[name]
    with pytest.raises(tf.errors.InvalidArgumentError):
        preparing.of_files(tf.constant([content]), PREPARATIONS[0])
