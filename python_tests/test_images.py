# SPDX-License-Identifier: MIT
"""gather_images: np.rot90 of the store's images, resized, scaled in float32, through each binding."""

import numpy as np
import oracles
import pytest
from asserts import assert_bit_identical
from hypothesis import given
from hypothesis import strategies as st


def images(count, height, width, channels, seed=0):
    shape = (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


SQUARE = images(11, 5, 5, 1)


# value * scale + shift rounds twice, in float32, in the kernel as in the oracle: all comparisons are of bits.
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_every_turn_is_that_of_rot90(backend, turns, channels):
    store, indices = images(4, 5, 5, channels), np.array([3, 0, 3])
    got = backend.gather_images(store, indices, np.full(3, turns))
    assert_bit_identical(got, oracles.gather_images(store, indices, np.full(3, turns)))


@pytest.mark.each_level
@pytest.mark.parametrize("size", [1, 2, 7, 8, 15, 16, 17, 28, 31, 33, 105])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_size_is_exact(numpy_backend, size, channels):
    store, indices, turns = (
        images(5, size, size, channels),
        np.array([4, 0, 2, 2, 1]),
        np.array([0, 1, 2, 3, 1]),
    )
    got = numpy_backend.gather_images(store, indices, turns, scale=2 / 255, shift=-1.0)
    assert_bit_identical(got, oracles.gather_images(store, indices, turns, scale=2 / 255, shift=-1.0))


@pytest.mark.each_level
@given(
    height=st.integers(0, 12),
    width=st.integers(0, 12),
    channels=st.integers(1, 4),
    indices=st.lists(st.integers(0, 6), max_size=9),
    half_turns=st.booleans(),
    scale=st.floats(-4, 4, width=32),
    shift=st.floats(-4, 4, width=32),
)
def test_any_shape_and_scale_is_exact(height, width, channels, indices, half_turns, scale, shift):
    from fslcore import kernels

    store, indices = images(7, height, width, channels), np.array(indices, np.int32)
    rotations = np.arange(len(indices)) % 2 * 2 if half_turns else None
    got = kernels.gather_images(store, indices, rotations, scale, shift)
    assert_bit_identical(got, oracles.gather_images(store, indices, rotations, scale, shift))


def test_every_byte_is_scaled_like_numpy(backend):
    store = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    want = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
    assert_bit_identical(backend.gather_images(store, np.array(0)), want.reshape(16, 16, 1))


@pytest.mark.parametrize(
    ("scale", "shift"), [(1.0, 0.0), (1 / 127.5, -1.0), (-1 / 255, 1.0), (0.0, 0.5)], ids=str
)
def test_scale_and_shift(backend, scale, shift):
    indices = np.array([1, 10])
    got = backend.gather_images(SQUARE, indices, scale=scale, shift=shift)
    assert_bit_identical(got, oracles.gather_images(SQUARE, indices, scale=scale, shift=shift))


@pytest.mark.parametrize("indices_shape", [(), (3,), (2, 3), (2, 3, 4)], ids=str)
def test_the_result_has_the_axes_of_indices_and_of_an_image(backend, indices_shape):
    indices = np.random.default_rng(1).integers(0, 11, indices_shape)
    assert_bit_identical(backend.gather_images(SQUARE, indices), oracles.gather_images(SQUARE, indices))


@pytest.mark.parametrize("rotations_shape", [(), (2,), (2, 3), (2, 3, 4)], ids=str)
def test_rotations_follow_the_leading_axes_of_indices(backend, rotations_shape):
    rng = np.random.default_rng(1)
    indices, rotations = rng.integers(0, 11, (2, 3, 4)), rng.integers(1, 4, rotations_shape)
    got = backend.gather_images(SQUARE, indices, rotations)
    assert_bit_identical(got, oracles.gather_images(SQUARE, indices, rotations))


@pytest.mark.parametrize("size", [(5, 5), (1, 1), (3, 8), (13, 2), (10, 10)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_bilinear(backend, size, channels):
    store, indices, rotations = images(4, 5, 5, channels), np.array([[3, 0], [1, 1]]), np.array([0, 3])
    got = backend.gather_images(store, indices, rotations, 2 / 255, -1.0, size)
    assert_bit_identical(got, oracles.gather_images(store, indices, rotations, 2 / 255, -1.0, size))


@pytest.mark.each_level
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    turned=st.booleans(),
)
def test_any_size_is_reached_exactly(shape, size, turned):
    from fslcore import kernels

    store, rotations = images(3, *shape), np.full(2, 2) if turned else None
    got = kernels.gather_images(store, [2, 0], rotations, size=size)
    assert_bit_identical(got, oracles.gather_images(store, [2, 0], rotations, size=size))


@pytest.mark.parametrize("size", [(28, 28), (105, 105), (7, 40), (200, 31)], ids=str)
def test_resizing_is_that_of_tensorflow(size):
    import tensorflow as tf

    from fslcore import kernels

    store = images(3, 105, 105, 3)
    want = tf.image.resize(store, size, "bilinear", antialias=False).numpy()
    assert_bit_identical(kernels.gather_images(store, np.arange(3), scale=1.0, size=size), want)


def test_half_turns_need_no_square(backend):
    store, indices, rotations = images(3, 4, 7, 3), np.array([0, 1, 2]), np.array([2, 0, 2])
    got = backend.gather_images(store, indices, rotations)
    assert_bit_identical(got, oracles.gather_images(store, indices, rotations))


@pytest.mark.parametrize(
    ("store_shape", "indices_shape", "rotations_shape"),
    [
        pytest.param((11, 5, 5, 1), (0,), None, id="no indices"),
        pytest.param((11, 5, 5, 1), (2, 0), (2,), id="no indices in two runs"),
        pytest.param((11, 5, 5, 1), (0, 3), (0,), id="no runs"),
        pytest.param((0, 5, 5, 1), (0,), None, id="empty store"),
        pytest.param((3, 0, 5, 1), (2,), None, id="images without rows"),
    ],
)
def test_empty_shapes(backend, store_shape, indices_shape, rotations_shape):
    rotations = None if rotations_shape is None else np.ones(rotations_shape, np.int32)
    got = backend.gather_images(np.zeros(store_shape, np.uint8), np.zeros(indices_shape, np.int32), rotations)
    assert_bit_identical(got, np.zeros(indices_shape + store_shape[1:], np.float32))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_index_width_does_not_matter(backend, dtype):
    indices, rotations = np.array([9, 0, 4], dtype), np.array([1, 2, 3], dtype)
    got = backend.gather_images(SQUARE, indices, rotations)
    assert_bit_identical(got, oracles.gather_images(SQUARE, indices, rotations))


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(lambda store: np.repeat(store, 2, axis=2)[:, :, ::2], id="strided"),
        pytest.param(lambda store: store[::-1].copy()[::-1], id="reversed"),
        pytest.param(lambda store: np.asfortranarray(store), id="fortran"),
        pytest.param(lambda store: store.transpose(0, 2, 1, 3).copy().transpose(0, 2, 1, 3), id="transposed"),
    ],
)
def test_memory_layout_does_not_matter(numpy_backend, layout):
    store, indices, rotations = images(6, 5, 5, 3), np.array([[5, 2], [0, 1]]), np.array([1, 3])
    np.testing.assert_array_equal(layout(store), store)
    got = numpy_backend.gather_images(layout(store), indices[:, ::-1], rotations)
    assert_bit_identical(got, oracles.gather_images(store, indices[:, ::-1], rotations))


WIDE = images(3, 4, 7, 1)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        pytest.param((SQUARE, np.array([0, 11])), r"indices.*11.*received 11", id="index past the end"),
        pytest.param((SQUARE, np.array([-1])), "indices.*received -1", id="negative index"),
        # In 32 bits it would be 3, a valid index.
        pytest.param(
            (SQUARE, np.array([2**32 + 3])), f"indices.*received {2**32 + 3}", id="index beyond 32 bits"
        ),
        pytest.param((SQUARE[:0], np.array([0])), "indices.*received 0", id="index into an empty store"),
        pytest.param((SQUARE, np.array([0]), np.array([4])), "rotations.*received 4", id="four turns"),
        pytest.param((SQUARE, np.array([0]), np.array([-1])), "rotations.*received -1", id="negative turns"),
        pytest.param(
            (SQUARE, np.array([0]), np.array([2**32])), "rotations.*received", id="turns beyond 32 bits"
        ),
        pytest.param(
            (WIDE, np.array([0, 1]), np.array([2, 1])), "rotations.*square.*4.*7", id="odd turn, not square"
        ),
        pytest.param(
            (SQUARE, np.zeros((2, 3), int), np.zeros(3, int)),
            "rotations must have the leading axes.*received",
            id="rotations on a trailing axis",
        ),
        # Six rotations divide six indices: only their shapes tell that they do not belong together.
        pytest.param(
            (SQUARE, np.zeros((2, 3), int), np.zeros((3, 2), int)),
            "rotations must have the leading axes.*received",
            id="rotations transposed",
        ),
        pytest.param(
            (SQUARE, np.zeros(2, int), np.zeros((2, 2), int)),
            "rotations must have the leading axes.*received",
            id="rotations with more axes",
        ),
        pytest.param((SQUARE, np.array([0]), None, 1.0, 0.0, (5, 0)), "size.*received", id="empty size"),
        pytest.param(
            (SQUARE, np.array([0]), None, 1.0, 0.0, 5), "size.*received size=5", id="size of one number"
        ),
        pytest.param((SQUARE[:, :0], np.array([0]), None, 1.0, 0.0, (5, 5)), "store.*rec", id="no pixels"),
        pytest.param((SQUARE[0], np.array([0])), "store must.*received", id="store of one image"),
        pytest.param(
            (SQUARE.astype(np.float32), np.array([0])), "store must.*uint8.*received", id="store of floats"
        ),
    ],
)
def test_bad_arguments_are_rejected_with_one_message(backend, reject, args, match):
    reject(backend, match, "gather_images", *args)


def test_indices_that_are_no_integers_are_rejected(backend):
    with pytest.raises((*backend.errors, TypeError), match="indices"):
        backend.gather_images(SQUARE, np.array([0.5]))
