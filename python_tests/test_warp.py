# SPDX-License-Identifier: MIT
"""Affine warps of images, of images of a store, and transforms drawn at random, through each binding."""

import numpy as np
import oracles_warp
import pytest
import tensorflow as tf
from asserts import assert_bit_identical
from hypothesis import given
from hypothesis import strategies as st

from fslcore import kernels, ops, twins

IDENTITY = np.array([1, 0, 0, 0, 1, 0], np.float32)
# Small multiples of powers of two: products and sums are exact in float32, whatever is fused.
EXACT = np.array(
    [
        [1, 0, 0, 0, 1, 0],
        [0.5, -0.25, 2, 0.25, 1.5, -1.75],
        [-1, 0, 6, 0, 1, 0.5],  # mirrored
        [0, 1, -40, 1, 0, 90],  # all of it outside
        [2, 0.5, -3.25, -0.5, 2, 2.5],
    ],
    np.float32,
)
STORE = np.random.default_rng(0).integers(0, 256, (6, 7, 7, 1)).astype(np.uint8)
WIDE = np.random.default_rng(1).integers(0, 256, (5, 5, 8, 3)).astype(np.uint8)
# Rotation, two shears, three zooms, two shifts, two flips: uniform, normal, sometimes, always, never.
DRAWN = np.array(
    [
        [-170, 200, 0.9, 0], [0.1, 0.3, 0.5, 1], [-0.5, 0.5, 1, 0], [1, 0.4, 0.8, 1], [0.02, 0.03, 0.3, 0],
        [0.5, 2, 1, 0], [-0.3, 0.3, 0.7, 0], [0, 0.1, 1, 1], [1, 1, 0.5, 0], [1, 1, 0, 0],
    ],
    np.float32,
)  # fmt: skip


@pytest.mark.parametrize(
    ("fill", "value", "size"),
    [("constant", 0.0, None), ("constant", 128.0, (3, 9)), ("nearest", 7.0, (8, 5))],
)
def test_images_are_warped_as_a_loop_does_it(backend, fill, value, size):
    images = WIDE.astype(np.float32) - 100
    got = backend.affine_images(images, EXACT, size, fill, value)
    assert_bit_identical(got, oracles_warp.affine_images(images, EXACT, size, fill, value))
    turned = EXACT[:4].reshape(2, 2, 6)
    arguments = (
        STORE,
        np.array([[5, 0], [2, 2]]),
        turned,
        np.array([3, 2]),
        2 / 255,
        -1.0,
        size,
        fill,
        value,
    )
    assert_bit_identical(backend.gather_affine(*arguments), oracles_warp.gather_affine(*arguments))


def test_the_twin_is_the_same_and_so_are_its_gradients():
    images = tf.constant(WIDE, tf.float32)
    for fill in ("constant", "nearest"):
        want = oracles_warp.affine_images(images, EXACT, (6, 4), fill, 9.0)
        assert_bit_identical(twins.affine_images(images, EXACT, (6, 4), fill, 9.0).numpy(), want)
    rotations = np.array([1, 0, 2])
    want = oracles_warp.gather_affine(STORE, [4, 0, 1], EXACT[:3], rotations)
    np.testing.assert_allclose(twins.gather_affine(STORE, [4, 0, 1], EXACT[:3], rotations), want, atol=1e-6)
    transforms = tf.constant(EXACT + np.float32(0.125))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([images, transforms])
        one = tf.reduce_sum(ops.affine_images(images, transforms, fill="nearest") ** 2)
        other = tf.reduce_sum(twins.affine_images(images, transforms, fill="nearest") ** 2)
    for source in (images, transforms):
        gradient = tape.gradient(one, source)
        assert np.abs(gradient).max() > 1
        np.testing.assert_allclose(gradient, tape.gradient(other, source), rtol=1e-5)


@pytest.mark.each_level
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 70), st.integers(1, 4)),
    size=st.none() | st.tuples(st.integers(1, 5), st.integers(1, 70)),
    fill=st.sampled_from(["constant", "nearest"]),
    seed=st.integers(0, 2**20),
)
def test_any_warp_is_exact(shape, size, fill, seed):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, shape).astype(np.uint8)
    transforms = (IDENTITY + generator.normal(0, 1, (shape[0], 6)) * [0.5, 0.5, 4, 0.5, 0.5, 4]).astype(
        np.float32
    )
    transforms[0] *= generator.choice([1, 1e4, 1e30])
    want = oracles_warp.affine_images(images, transforms, size, fill, 3.0)
    assert_bit_identical(kernels.affine_images(images, transforms, size, fill, 3.0), want)
    order = np.arange(shape[0])
    got = kernels.gather_affine(images, order, transforms, None, 1.0, 0.0, size, fill, 3.0)
    assert_bit_identical(got, want)


@pytest.mark.parametrize("fill", ["constant", "nearest"])
def test_the_interpolation_is_that_of_tensorflow(fill):
    images = np.random.default_rng(3).random((20, 28, 28, 1), dtype=np.float32)
    transforms = kernels.affine_transforms(DRAWN, (28, 28, 28, 28), np.arange(20), 0, 0)
    want = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=np.pad(transforms, [(0, 0), (0, 2)]),
        output_shape=[28, 28],
        interpolation="BILINEAR",
        fill_mode=fill.upper(),
        fill_value=0.0,
    )
    np.testing.assert_array_equal(kernels.affine_images(images, transforms, fill=fill), want.numpy())


def test_transforms_are_drawn_as_the_oracle_does_it(backend):
    sizes, numbers = np.array([40, 20, 30, 25]), np.array([[0, 1, 7], [5, 2**31 - 1, 0]])
    got = backend.affine_transforms(DRAWN, sizes, numbers, 2**40 + 3, 2**33 + 1)
    want = oracles_warp.affine_transforms(DRAWN, sizes, numbers, 2**40 + 3, 2**33 + 1)
    # Rounded once to float32; its inputs were float32 already.
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5)
    assert_bit_identical(got, kernels.affine_transforms(DRAWN, sizes, numbers, 2**40 + 3, 2**33 + 1))
    assert_bit_identical(got[0, 0], got[1, 2])


def test_what_is_drawn_is_distributed_as_it_says():
    def drawn(**rows):
        distributions = np.array([[0, 0, 0, 0]] * 10, np.float32)
        for name, row in rows.items():
            distributions[kernels.AFFINE_PARAMETERS.index(name)] = row
        return kernels.affine_transforms(distributions, (9, 9, 9, 9), np.arange(20_000), 1, 2).astype(
            np.float64
        )

    assert np.all(drawn() == IDENTITY)
    # Without rotation and shear, a is 1 / zoom, and the shift moves the middle by its share of nine pixels.
    zoom = 1 / drawn(zoom=(1, 0.1, 1, 1))[:, 0]
    bound = 4 / np.sqrt(20_000)  # of the mean of so many draws, in deviations
    assert abs(zoom.mean() - 1) < 0.1 * bound
    assert abs(zoom.std() / 0.1 - 1) < bound
    assert abs(np.mean(np.abs(zoom - 1) < 0.1) - 0.6827) < bound / 2
    shift = -drawn(shift_x=(-0.2, 0.4, 1, 0))[:, 2] / 9
    assert shift.min() >= -0.2 - 1e-7
    assert shift.max() <= 0.4 + 1e-7
    assert abs(np.mean(shift < 0) - 1 / 3) < bound / 2
    flips = drawn(flip_x=(1, 1, 0.3, 0), flip_y=(1, 1, 0.3, 0))
    left, top = flips[:, 0] < 0, flips[:, 4] < 0
    assert abs(left.mean() - 0.3) < bound / 2
    assert abs((left & top).mean() - 0.09) < bound / 3
    angle = np.arctan2(drawn(rotation=(-30, 30, 1, 0))[:, 3], drawn(rotation=(-30, 30, 1, 0))[:, 0])
    assert abs(np.degrees(angle).std() - 60 / np.sqrt(12)) < 1


FOUR = np.array([9, 9, 9, 9])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        pytest.param(
            lambda b: b.affine_images(WIDE, EXACT[:4]), "transforms must have shape.*received", id="too few"
        ),
        pytest.param(lambda b: b.affine_images(WIDE[0], EXACT), "images must have 4 axes", id="one image"),
        pytest.param(
            lambda b: b.affine_images(WIDE, EXACT * np.float32(np.nan)), "transforms must be finite", id="NaN"
        ),
        pytest.param(
            lambda b: b.affine_images(WIDE, EXACT, None, "wrap"),
            "fill must be one of constant, nearest",
            id="fill",
        ),
        pytest.param(lambda b: b.affine_images(WIDE, EXACT, (3, 0)), "size.*received", id="size"),
        pytest.param(
            lambda b: b.affine_images(WIDE[:, :0], EXACT), "images must have pixels to warp", id="no pixels"
        ),
        pytest.param(
            lambda b: b.gather_affine(STORE, [0, 6], EXACT[:2]), "indices must be in.*received 6", id="index"
        ),
        pytest.param(
            lambda b: b.gather_affine(WIDE, [0], EXACT[:1], [1]),
            "rotations.*square",
            id="odd turn, not square",
        ),
        pytest.param(
            lambda b: b.gather_affine(STORE, [[0]], EXACT[:1]),
            "transforms must have",
            id="axes of transforms",
        ),
        pytest.param(
            lambda b: b.affine_transforms(DRAWN[:9], FOUR, [0], 0, 0),
            "distributions must have shape",
            id="rows",
        ),
        pytest.param(
            lambda b: b.affine_transforms(DRAWN + 1, FOUR, [0], 0, 0),
            "probabilities from 0 to 1",
            id="probability",
        ),
        pytest.param(
            lambda b: b.affine_transforms(DRAWN, FOUR * 0, [0], 0, 0),
            "sizes must be from 1.*received 0",
            id="sizes",
        ),
        pytest.param(
            lambda b: b.affine_transforms(DRAWN, FOUR, [2**31], 0, 0), "numbers must be from 0", id="number"
        ),
        pytest.param(
            lambda b: b.affine_transforms(DRAWN, FOUR, [0], 0, -1), "step must be at least 0", id="step"
        ),
    ],
)
def test_bad_arguments_are_rejected_with_one_message(numpy_backend, call, match):
    with pytest.raises(numpy_backend.errors, match=match):
        call(numpy_backend)


def test_every_binding_rejects_them(backend):
    for call, match in (
        (lambda: backend.affine_images(WIDE, EXACT[:4]), "transforms must have shape.*received"),
        (lambda: backend.affine_images(WIDE, EXACT, None, "wrap"), "fill must be one of constant, nearest"),
        (lambda: backend.affine_transforms(DRAWN[:9], FOUR, [0], 0, 0), "distributions must have shape"),
    ):
        with pytest.raises(backend.errors, match=match):
            call()
    if not backend.on_gpu:  # which would have to be waited for; such images are NaN there
        with pytest.raises(backend.errors, match=r"indices must be in.*received 6"):
            backend.gather_affine(STORE, [0, 6], EXACT[:2])


def test_what_is_empty_stays_empty(backend):
    assert backend.affine_images(np.zeros((0, 3, 4, 1)), np.zeros((0, 6)), (2, 2)).shape == (0, 2, 2, 1)
    assert backend.gather_affine(STORE, np.zeros((2, 0), int), np.zeros((2, 0, 6))).shape == (2, 0, 7, 7, 1)
    assert backend.affine_transforms(DRAWN, FOUR, np.zeros((3, 0), int), 0, 0).shape == (3, 0, 6)
