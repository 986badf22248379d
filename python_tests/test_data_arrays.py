# SPDX-License-Identifier: MIT
"""Arrays of images: what is refused and what is advised, and where none is copied."""

from __future__ import annotations

import numpy as np
import pytest

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore

LABELS = np.repeat(np.arange(4), 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_first_are_moved_to_the_end_or_refused(channels):
    images = np.random.default_rng(0).integers(0, 256, (12, channels, 28, 30), np.uint8)
    with pytest.raises(ArgumentError, match=r"channels last.*pass images\.transpose\(0, 2, 3, 1\)"):
        ImageStore(images, LABELS)
    last = images.transpose(0, 2, 3, 1)
    for given in (images, last):
        np.testing.assert_array_equal(ImageStore.from_arrays(given, LABELS).images, last)
    np.testing.assert_array_equal(ImageStore(last, LABELS).images, last)


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_are_scaled(dtype, channels_first, monkeypatch):
    monkeypatch.setattr("fslcore.data.converting._AT_A_TIME", 5 * 81 * 3)
    images = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), np.uint8)
    floats = (images / 255.0).astype(dtype)
    given = floats.transpose(0, 3, 1, 2) if channels_first else floats
    for labels in (LABELS, LABELS[::-1]):
        store = ImageStore.from_arrays(given, labels)
        np.testing.assert_array_equal(store.images[0], images[0 if labels is LABELS else 9])
        expected = images if labels is LABELS else images.reshape(4, 3, 9, 9, 3)[::-1].reshape(images.shape)
        np.testing.assert_array_equal(store.images, expected)
    with pytest.raises(ArgumentError, match=r"np\.rint"):
        ImageStore(floats, LABELS)


class Torch:
    """What a tensor of PyTorch shows of itself: with a gradient, it is no array."""

    dtype = "torch.bfloat16"

    def __init__(self, values, fails=False):
        self.values, self.fails = values, fails

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        if self.fails:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.values


def test_tensors_of_other_libraries_are_taken():
    images = np.random.default_rng(0).integers(0, 256, (12, 3, 9, 9), np.uint8)
    store = ImageStore.from_arrays(Torch(images), LABELS)
    np.testing.assert_array_equal(store.images, images.transpose(0, 2, 3, 1))
    with pytest.raises(
        ArgumentError, match=r"such as images\.float\(\), received a tensor of torch\.bfloat16"
    ):
        ImageStore.from_arrays(Torch(images, fails=True), LABELS)


def test_a_memory_map_with_channels_first_is_not_copied(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((12, 3, 9, 9), np.uint8))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    with pytest.raises(ArgumentError, match=r"a memory map, .*write images\.transpose\(0, 2, 3, 1\) into"):
        ImageStore.from_arrays(mapped, LABELS)


def test_narrow_images_are_no_channels():
    assert ImageStore.from_arrays(np.zeros((12, 3, 28, 3), np.uint8), LABELS).image_shape == (3, 28, 3)
    assert ImageStore.from_arrays(np.zeros((12, 28, 28, 9), np.uint8), LABELS).image_shape == (28, 28, 9)


VALUES = {
    "0..255": (np.linspace(0, 255, 12), "np.rint(images).astype(np.uint8)"),
    "-1..1": (np.linspace(-1, 1, 12), "values from -1.0 to 1.0; shift and scale"),
    "beyond": (np.linspace(0, 4095, 12), "values from 0.0 to 4095.0; scale"),
    "NaN": (np.array([np.nan, *range(11)]), "64 values are NaN or infinite"),
    "inf": (np.array([np.inf, *range(11)]), "64 values are NaN or infinite"),
    "int64": (np.arange(12), "pass images.astype(np.uint8)"),
    "int8": (np.arange(-6, 6, dtype=np.int8), "values from -6 to 5; shift"),
    "12 bits": (np.linspace(0, 4095, 12).astype(np.uint16), "pass (images >> 4).astype(np.uint8)"),
    "16 bits": (np.linspace(0, 65535, 12).astype(np.uint16), "pass (images >> 8).astype(np.uint8)"),
    "0 and 1": (np.array([0, 1] * 6), "pass (images * 255).astype(np.uint8) if 1 is white"),
    "bool": (np.array([True, False] * 6), "pass images.astype(np.uint8) * 255 if True is white"),
    "objects": (np.array([None] * 12), "received object"),
    "strings": (np.array(["a"] * 12), "received <U1"),
    "complex": (np.zeros(12, complex), "received complex128"),
}


@pytest.mark.parametrize(("values", "advice"), VALUES.values(), ids=VALUES)
def test_other_values_are_refused_with_what_helps(values, advice):
    images = np.broadcast_to(values[:, None, None], (12, 8, 8))
    with pytest.raises(ArgumentError) as caught:
        ImageStore.from_arrays(images, LABELS)
    assert "images must be uint8 [N, H, W, C]" in str(caught.value)
    assert advice in str(caught.value)
    if "pass " in advice:
        advised = eval(advice.removeprefix("pass ").partition(" if ")[0], {"images": images, "np": np})
        assert ImageStore.from_arrays(advised, LABELS).images.max() >= 11


def test_masked_and_ragged_images_are_refused():
    with pytest.raises(ArgumentError, match=r"images must have no masked values, received 64"):
        ImageStore.from_arrays(
            np.ma.array(np.zeros((12, 8, 8), np.uint8), mask=np.arange(12 * 64).reshape(12, 8, 8) < 64),
            LABELS,
        )
    with pytest.raises(ArgumentError, match="images must all have one size"):
        ImageStore.from_arrays([np.zeros((8, 8), np.uint8), np.zeros((9, 8), np.uint8)], [0, 1])


@pytest.fixture
def mapped(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 9, 8, 3), np.uint8)
    np.save(tmp_path / "images.npy", images)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def test_a_memory_map_that_is_sorted_is_not_copied(mapped):
    store = ImageStore.from_arrays(mapped, LABELS)
    assert np.shares_memory(store.images, mapped)
    assert np.shares_memory(store.take(np.arange(3, 9)).images, mapped)
    assert np.shares_memory(store.with_min_images(1).images, mapped)
    np.testing.assert_array_equal(store.image_tensor, mapped)


def test_rows_in_another_order_are_copied_once(mapped):
    store = ImageStore.from_arrays(mapped, LABELS[::-1])
    np.testing.assert_array_equal(store.images, mapped[[9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2]])
    assert not np.shares_memory(store.images, mapped)
    part = store.take([0, 2, 5])
    np.testing.assert_array_equal(part.images, store.images[[0, 2, 5]])


@pytest.mark.parametrize("offset", [0, 1, 8, 32])
def test_a_tensor_lies_on_the_images_where_tensorflow_can_read_them(offset):
    import tensorflow as tf

    from fslcore.data.arrays import empty_images, tensor_of

    memory = empty_images((5 * 64 + offset,))
    memory[:] = np.arange(memory.size) % 251
    images = memory[offset:].reshape(5, 8, 8, 1)
    images.flags.writeable = False
    tensor = tensor_of(images)
    np.testing.assert_array_equal(tensor, images)
    assert "CPU" in tensor.device
    memory[offset] = 255  # nobody may do this; it shows whose memory it is
    assert int(tf.gather(tensor, 0)[0, 0, 0]) == (0 + offset if offset else 255)


def test_a_tensor_keeps_the_memory_of_its_images():
    import gc

    from fslcore.data.arrays import empty_images, tensor_of

    def tensor(value):
        images = empty_images((100, 100, 100, 1))
        images[:] = value
        return tensor_of(images)

    tensors = [tensor(value) for value in range(5)]
    gc.collect()
    assert [int(one.numpy().min()) for one in tensors] == [0, 1, 2, 3, 4]
