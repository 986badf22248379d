# SPDX-License-Identifier: MIT
"""Convolution, batch normalisation and ReLU in one op: exact where integers allow, bounded where not.

Graphs, XLA and threads are in test_convolution_graph.py.
"""

import numpy as np
import oracles_convolution as oracles
import pytest
import tensorflow as tf
from asserts import assert_bit_identical, assert_gradient_close, float32_exactly, gamma
from combinations import first_with_all
from convolution_cases import arguments, results_and_gradients
from inputs import normal
from routes import MODES, compiled, eager, name

from fslcore import ops, twins
from fslcore.arguments import CONV_PRECISIONS
from fslcore.ops._library import raw_ops

BLOCKS = [ops.conv_block, twins.conv_block]
BLOCK_IDS = ["op", "twin"]
CHANNELS = (1, 3, 16, 17, 64)
U = 2.0**-8  # the unit roundoff of bfloat16


# The convolution, on integers -----------------------------------------------------------------------


@pytest.mark.each_level
@pytest.mark.parametrize("precision", CONV_PRECISIONS)
@pytest.mark.parametrize("filters", CHANNELS)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("strides", [1, 2])
def test_the_convolution_is_exact(strides, channels, filters, precision):
    for height in range(1, 10):
        width = height * 4 % 9 + 1  # every size from 1 to 9 in each direction, square and not
        images, kernel, scale, shift = arguments(height, 2, height, width, channels, filters)
        block = raw_ops.fslcore_conv_block(
            images=images,
            kernel=kernel,
            gamma=scale,
            beta=shift,
            strides=strides,
            pool_size=1,
            epsilon=1.0,
            precision=precision,
        )
        np.testing.assert_array_equal(block.maps, float32_exactly(oracles.convolve(images, kernel, strides)))


# The block ------------------------------------------------------------------------------------------


def check_block(got, arrays, grad, strides, pool_size=1, epsilon=1e-3, precision="float32"):
    """Against the oracle; bounds to first order in the unit roundoff.

    With a = |c| + mean |c| the centred values are good to gamma(n) a in any order of summation, the variance
    to gamma(n) mean(a^2), and so 1 / sqrt(variance + epsilon) to gamma(n) spread / 2, where spread =
    mean(a^2) / (variance + epsilon). The convolutions add 9 * channels terms; 32 roundings are the rest.
    """
    images, kernel, scale, shift = arrays
    want = oracles.conv_block(*arrays, strides, pool_size, epsilon)
    want_grad = oracles.conv_block_grad(*arrays, grad, strides, pool_size, epsilon)
    axes = (0, 1, 2)
    c, positions = np.abs(want.maps), want.maps[..., 0].size
    a = c + np.mean(c, axes)
    inverse = 1 / np.sqrt(want.variance + epsilon)
    spread = np.mean(a**2, axes) * inverse**2
    roundings = 9 * max(kernel.shape[2:]) + 4 * positions + 32

    before_relu = scale * (want.maps - want.mean) * inverse + shift
    magnitude = np.abs(scale) * a * inverse * (1 + spread / 2) + np.abs(shift)
    bound = gamma(2 * positions + 32) * magnitude
    assert np.all(np.abs(before_relu) > bound), "choose data for which rounding decides no ReLU"
    windows, bounds = (oracles.pooling_windows(part, pool_size) for part in (before_relu, bound))
    behind = np.max(windows, axis=0) - windows
    clear = (behind > 2 * np.max(bounds, axis=0)) | (behind == 0) | (windows < 0)
    assert np.all(clear), "choose data for which rounding decides no maximum"
    bound = np.max(bounds, axis=0)
    d = np.abs(oracles.pool_grad(np.maximum(before_relu, 0), grad, pool_size)) * (before_relu > 0)

    outputs, mean, variance, images_grad, kernel_grad, scale_grad, shift_grad = got
    assert_gradient_close(mean, want.mean, np.mean(c, axes), positions + 8)
    assert_gradient_close(variance, want.variance, np.mean(a**2, axes), 2 * positions + 16)
    assert np.all(np.abs(outputs - want.outputs) <= bound)
    assert_bit_identical(outputs > 0, np.max(windows, axis=0) > 0)
    assert_gradient_close(shift_grad, want_grad.beta, np.sum(d, axes), positions + 8)
    of_scale = np.sum(d * a, axes) * inverse * (1 + spread / 2)
    assert_gradient_close(scale_grad, want_grad.gamma, of_scale, roundings)
    of_maps = (np.abs(scale) * inverse) * (
        (d + np.mean(d, axes)) * (1 + spread / 2) + a * inverse**2 * np.mean(d * a, axes) * (1 + 1.5 * spread)
    )
    parts, wanted = (images_grad, kernel_grad), (want_grad.images, want_grad.kernel)
    sizes = oracles.convolve_grad(np.abs(images), np.abs(kernel), of_maps, strides)
    if precision == "float32":
        for part, want, size in zip(parts, wanted, sizes, strict=True):
            assert_gradient_close(part, want, size, roundings)
        return
    # The gradient of the maps is rounded, each element by at most U of it and independently: errors add up
    # like the steps of a random walk. The integers are exact in bfloat16.
    squares = oracles.convolve_grad(images**2, kernel**2, want_grad.maps**2, strides)
    for part, want, size, square in zip(parts, wanted, sizes, squares, strict=True):
        walk = U * np.sqrt(square)
        assert np.all(np.abs(part - want) <= 4 * walk + gamma(roundings) * size)
        assert np.linalg.norm(part - want) <= np.linalg.norm(walk) <= 0.01 * np.linalg.norm(want)


SHAPES = {
    "odd and even, 3 channels, 17 filters": (3, 6, 7, 3, 17),
    "one channel": (2, 9, 9, 1, 16),
    "5 filters": (4, 5, 4, 16, 5),
}


def name_of(function):
    """Of a mode, or of an implementation of the block."""
    return BLOCK_IDS[BLOCKS.index(function)] if function in BLOCKS else name(function)


@pytest.mark.parametrize(
    ("mode", "block", "strides", "pool_size", "shape", "precision"),
    first_with_all(MODES, BLOCKS, (1, 2), (1, 2), list(SHAPES), CONV_PRECISIONS),
    ids=lambda value: name_of(value) if callable(value) else str(value),
)
def test_values_and_gradients(mode, block, strides, pool_size, shape, precision):
    shape = SHAPES[shape]
    arrays = arguments(0, *shape)
    options = {"strides": strides, "pool_size": pool_size, "epsilon": 0.25}
    grad = normal(8, *oracles.conv_block(*arrays, **options).outputs.shape)
    got = results_and_gradients(block, mode, arrays, grad, precision=precision, **options)
    check_block(got, arrays, grad, precision=precision, **options)


@pytest.mark.each_level
@pytest.mark.parametrize("pool_size", [1, 2])
@pytest.mark.parametrize("filters", [1, 17, 64])
@pytest.mark.parametrize("precision", CONV_PRECISIONS)
def test_values_and_gradients_of_the_op(precision, filters, pool_size):
    arrays = arguments(3, 5, 8, 5, 3, filters)
    options = {"strides": 2, "pool_size": pool_size, "precision": precision}
    grad = normal(8, *oracles.conv_block(*arrays, pool_size=pool_size).outputs.shape)
    got = results_and_gradients(ops.conv_block, eager, arrays, grad, **options)
    check_block(got, arrays, grad, **options)


@pytest.mark.each_level
@pytest.mark.parametrize("mode", MODES, ids=name)
@pytest.mark.parametrize("precision", CONV_PRECISIONS)
@pytest.mark.parametrize("pool_size", [1, 2])
@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        pytest.param((200, 14, 14, 5, 20), True, id="kernel gradient of 16 parts"),
        pytest.param((22, 28, 28, 1, 64), False, id="4.4 MB of maps, made again"),
    ],
)
def test_large_batches(mode, precision, pool_size, shape, kept):
    arrays = arguments(0, *shape)
    options = {"strides": 1, "pool_size": pool_size, "epsilon": 1e-3, "precision": precision}
    names = ("images", "kernel", "gamma", "beta")
    block = raw_ops.fslcore_conv_block(**dict(zip(names, arrays, strict=True)), **options)
    assert (len(block.maps) > 0) == kept
    grad = normal(8, *block.outputs.shape)
    want = results_and_gradients(twins.conv_block, eager, arrays, grad, **options)
    got = results_and_gradients(ops.conv_block, mode, arrays, grad, **options)
    # A gradient of the maps that lies between two bfloat16 is now and then rounded to the other.
    roundings = shape[0] * shape[1] * shape[2] + (2**14 if precision == "bfloat16" else 0)
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=0, atol=gamma(roundings) * np.abs(wanted).max())


@pytest.mark.parametrize("mode", MODES, ids=name)
def test_a_gradient_of_the_images_is_made_only_if_asked_for(mode, monkeypatch):
    arrays = [tf.constant(a) for a in arguments(0, 3, 6, 5, 4, 16)]
    made = []
    gradient_op = raw_ops.fslcore_conv_block_grad

    def watching(with_images, **others):
        made.append(with_images)
        return gradient_op(with_images=with_images, **others)

    monkeypatch.setattr(raw_ops, "fslcore_conv_block_grad", watching)

    def run(asked):
        def gradients(images, *weights):
            sources = (images, *weights) if asked else weights
            with tf.GradientTape() as tape:
                tape.watch(sources)
                loss = tf.reduce_sum(ops.conv_block(images, *weights).outputs ** 3)
            return tape.gradient(loss, sources)[-3:]

        return mode(gradients)(*arrays)

    for alone, together in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(alone, together)
    assert made == [False, True]


def test_compiled_and_eager_agree_to_the_bit():
    arrays = arguments(0, 20, 14, 14, 16, 64)
    grad = normal(1, 20, 7, 7, 64)
    want = results_and_gradients(ops.conv_block, eager, arrays, grad)
    for part, wanted in zip(results_and_gradients(ops.conv_block, compiled, arrays, grad), want, strict=True):
        assert_bit_identical(part, wanted)


@pytest.mark.each_level
@pytest.mark.parametrize("batch", [1, 40])  # one sum, and sums of several blocks combined
def test_variance_of_values_far_from_zero(batch):
    # Only the tap in the middle counts: the images themselves, 2^20 and 2^20 + 1 in turn, of variance 1/4.
    # From E[x^2] - E[x]^2 in float32 nothing would be left: the squares are 2^40, their spacing 2^17.
    images = np.tile(np.float32([2**20, 2**20 + 1]), batch * 32).reshape(batch, 8, 8, 1)
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[1, 1] = [1, -1]
    result = ops.conv_block(images, kernel, np.ones(2), np.zeros(2), strides=1)
    np.testing.assert_allclose(result.variance, [0.25, 0.25], rtol=gamma(140))
    np.testing.assert_array_equal(result.mean, np.float32([2**20 + 0.5, -(2**20) - 0.5]))


@pytest.mark.parametrize("mode", MODES, ids=name)
@pytest.mark.parametrize("block", BLOCKS, ids=BLOCK_IDS)
def test_the_gradient_at_zero_is_zero(mode, block):
    # Every output is exactly 0 before the ReLU.
    arrays = [*arguments(0, 3, 4, 4, 2, 5)[:2], np.zeros(5, np.float32), np.zeros(5, np.float32)]
    outputs, _, _, *gradients = results_and_gradients(block, mode, arrays, np.ones((3, 2, 2, 5), np.float32))
    assert not outputs.any()
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("mode", MODES, ids=name)
def test_an_empty_batch(mode):
    arrays = [np.zeros((0, 5, 4, 3), np.float32), *arguments(0, 1, 5, 4, 3, 6)[1:]]
    outputs, mean, variance, *gradients = results_and_gradients(
        ops.conv_block, mode, arrays, np.zeros((0, 3, 2, 6), np.float32)
    )
    assert outputs.shape == (0, 3, 2, 6)
    for part, wanted in zip((mean, variance, *gradients), (*arrays[2:], *arrays), strict=True):
        np.testing.assert_array_equal(part, np.zeros_like(wanted))


@pytest.mark.parametrize("block", BLOCKS, ids=BLOCK_IDS)
def test_mean_and_variance_carry_no_gradient(block):
    arrays = [tf.constant(a) for a in arguments(0, 3, 4, 4, 2, 5)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arrays)
        result = block(*arrays)
    assert tape.gradient([result.mean, result.variance], arrays) == [None] * 4


def test_the_twin_can_be_differentiated_twice():
    images, kernel, scale, shift = (tf.constant(a) for a in arguments(0, 3, 4, 4, 2, 5))
    with tf.GradientTape(persistent=True) as outer:
        outer.watch((scale, shift))
        with tf.GradientTape() as inner:
            inner.watch((scale, shift))
            loss = tf.reduce_sum(twins.conv_block(images, kernel, scale, shift).outputs ** 3)
        by_scale, by_shift = inner.gradient(loss, (scale, shift))
    one, other = outer.jacobian(by_scale, shift), outer.jacobian(by_shift, scale)
    assert np.any(one)
    np.testing.assert_array_equal(one, np.diag(np.diag(one)))  # each filter by itself
    np.testing.assert_allclose(one, np.transpose(other), rtol=1e-5)
