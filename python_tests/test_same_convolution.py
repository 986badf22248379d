# SPDX-License-Identifier: MIT
"""The convolution without stride: the oracle's values, gradients of gradients, every route and level."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from asserts import gamma
from inputs import normal
from oracles_convolution import same_convolve, same_convolve_grad
from routes import MODES, name

from fslcore import encoders
from fslcore.layers import upsampling
from fslcore.ops._library import raw_ops
from fslcore.ops.convolution import same_convolution

# [batch, height, width, channels], kernel size, filters: more rows and columns than a tile; a kernel larger
# than the image; one value; several chunks of positions and blocks of rows.
SHAPES = [
    ((2, 5, 4, 3), 3, 5),
    ((1, 2, 1, 4), 5, 17),
    ((3, 1, 1, 1), 1, 1),
    ((4, 7, 7, 100), 3, 33),
]
MODE_AND_SHAPE = [(MODES[(i + i // 4) % 4], shape) for i, shape in enumerate(SHAPES * 2)]


def inputs(shape):
    images, size, filters = shape
    return normal(1, *images), normal(2, size, size, images[3], filters), normal(3, *images[:3], filters)


def both(images, kernel, grad):
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        maps = same_convolution(images, kernel)
    return [maps, *tape.gradient(maps, [images, kernel], grad)]


@pytest.mark.parametrize(
    ("mode", "shape"), MODE_AND_SHAPE, ids=[f"{name(m)} {s[0]} {s[1]}" for m, s in MODE_AND_SHAPE]
)
def test_maps_and_gradients_are_the_oracles(mode, shape):
    arrays = inputs(shape)
    got = mode(both)(*map(tf.constant, arrays))
    want = [same_convolve(*arrays[:2]), *same_convolve_grad(*arrays)]
    magnitudes = [np.abs(array) for array in arrays]
    sizes = [same_convolve(*magnitudes[:2]), *same_convolve_grad(*magnitudes)]
    (count, height, width, channels), size, filters = shape
    terms = max(size**2 * max(channels, filters), count * height * width)
    for one, other, bound in zip(got, want, sizes, strict=True):
        assert one.shape == other.shape
        np.testing.assert_array_less(np.abs(one - other), gamma(2 * terms) * bound + 1e-30)
    integers = [np.rint(array * 2) for array in arrays]
    exact = [same_convolve(*integers[:2]), *same_convolve_grad(*integers)]
    for one, other in zip(mode(both)(*map(tf.constant, integers)), exact, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradients_of_gradients_are_tensorflows():
    images, kernel, _ = (tf.constant(array) for array in inputs(((2, 4, 3, 2), 3, 3)))

    def penalty(convolve):
        with tf.GradientTape() as outer:
            outer.watch([images, kernel])
            with tf.GradientTape() as inner:
                inner.watch([images, kernel])
                value = tf.reduce_sum(tf.tanh(convolve(images, kernel)))
            norms = [tf.reduce_sum(part**2) for part in inner.gradient(value, [images, kernel])]
            total = norms[0] + 2.0 * norms[1]
        return outer.gradient(total, [images, kernel])

    plain = penalty(lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"))
    for one, other in zip(penalty(same_convolution), plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("empty", ["images", "channels", "filters", "height"])
def test_sums_of_nothing_are_zero(empty):
    sizes = {"images": 2, "height": 3, "channels": 4, "filters": 5} | {empty: 0}
    images = tf.ones((sizes["images"], sizes["height"], 3, sizes["channels"]))
    kernel = tf.ones((3, 3, sizes["channels"], sizes["filters"]))
    maps, images_grad, kernel_grad = both(images, kernel, tf.ones((*images.shape[:3], sizes["filters"])))
    assert images_grad.shape == images.shape
    assert kernel_grad.shape == kernel.shape
    for part in (maps, images_grad, kernel_grad):
        assert not np.any(part)


@pytest.mark.parametrize(
    ("images", "kernel", "message"),
    [
        ((2, 3, 3), (3, 3, 3, 1), "images must have 4 axes"),
        ((2, 3, 3, 2), (3, 3, 3, 1), "kernel must have shape"),
        ((2, 3, 3, 3), (3, 5, 3, 1), "kernel must have shape"),
        ((2, 3, 3, 3), (2, 2, 3, 1), "kernel must have an odd size of at most 31"),
    ],
)
def test_other_shapes_are_refused(images, kernel, message):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        same_convolution(tf.ones(images), tf.ones(kernel))
    with pytest.raises(tf.errors.InvalidArgumentError, match="grad must have shape"):
        raw_ops.fslcore_same_convolution_grad(
            grad=tf.ones((2, 3, 3, 2)),
            images=tf.ones((2, 3, 3, 3)),
            kernel=tf.ones((3, 3, 3, 1)),
            with_images=True,
            with_kernel=True,
        )


def test_networks_of_keras_layers_load_into_ours_and_compute_the_same(tmp_path, monkeypatch):
    def network():
        keras.utils.set_random_seed(1)
        return encoders.adversarial.conditional_generator((8, 8, 1), 3, 4)

    ours = network()
    monkeypatch.setattr(encoders.adversarial, "Conv2D", keras.layers.Conv2D)
    plain = network()
    plain.save_weights(tmp_path / "a.weights.h5")
    ours.load_weights(tmp_path / "a.weights.h5")
    x = [normal(0, 5, 3), normal(1, 5, 4)]
    got = ours(x)
    monkeypatch.setattr(upsampling, "has_conv_block", lambda: False)
    np.testing.assert_allclose(got, plain(x), atol=1e-5)
