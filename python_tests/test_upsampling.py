# SPDX-License-Identifier: MIT
"""The sub-pixel convolution against upsampling and convolution."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from asserts import gamma
from inputs import normal
from routes import MODES, name

from fslcore.layers import UpsampledConv2D, upsampling


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """Compiled code where it can be, for however few channels."""
    monkeypatch.setattr(upsampling, "_FEWEST_CHANNELS", 1)


# (kernel size, factor): the published one, the smallest, a kernel wider than three small pixels, one whose
# reach is not a multiple of the factor, no enlargement.
CASES = [(5, 2), (1, 2), (3, 2), (9, 2), (5, 3), (3, 4), (5, 1)]


def plain(layer: UpsampledConv2D) -> keras.Sequential:
    """The two Keras layers that it stands for, with its weights."""
    pair = keras.Sequential(
        [
            keras.layers.UpSampling2D(layer.factor),
            keras.layers.Conv2D(layer.filters, layer.kernel_size, padding="same"),
        ]
    )
    pair.build((None, 3, 4, layer.kernel.shape[2]))
    pair.set_weights(layer.get_weights())
    return pair


def layer_for(kernel_size: int, factor: int, channels: int = 3, filters: int = 2) -> UpsampledConv2D:
    keras.utils.set_random_seed(3)
    layer = UpsampledConv2D(filters, kernel_size, factor)
    layer.build((None, 3, 4, channels))
    layer.bias.assign(normal(4, filters))
    return layer


@pytest.mark.parametrize(("kernel_size", "factor"), CASES)
def test_integers_are_convolved_exactly(kernel_size, factor):
    layer = layer_for(kernel_size, factor)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.integers(-4, 5, weight.shape) for weight in layer.get_weights()])
    x = rng.integers(-4, 5, (2, 3, 4, 3)).astype(np.float32)
    got = layer(x)
    assert got.shape == (2, 3 * factor, 4 * factor, 2)
    np.testing.assert_array_equal(got, plain(layer)(x))


@pytest.mark.parametrize("mode", MODES, ids=name)
@pytest.mark.parametrize(("kernel_size", "factor"), CASES[:2])
def test_it_is_upsampling_and_convolution_with_their_gradients(kernel_size, factor, mode):
    layer = layer_for(kernel_size, factor)
    x, grad = normal(1, 2, 3, 4, 3), normal(2, 2, 3 * factor, 4 * factor, 2)

    def run(x, grad, model):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)
        return y, tape.gradient(y, [x, *model.trainable_variables], grad)

    x, grad = tf.constant(x), tf.constant(grad)
    y, gradients = mode(lambda x, grad: run(x, grad, layer))(x, grad)
    pair = plain(layer)
    expected, expected_gradients = run(x, grad, pair)
    # Each element is a sum of at most `terms` products, in one order or another and in two stages: 2 * terms
    # roundings of the sum of their absolute values, which the same functions give for absolute arguments.
    terms = max(kernel_size**2 * 3, 2 * 3 * factor * 4 * factor) + 1
    pair.set_weights([np.abs(weight) for weight in pair.get_weights()])
    size, sizes = run(tf.abs(x), tf.abs(grad), pair)
    triples = zip((y, *gradients), (expected, *expected_gradients), (size, *sizes), strict=True)
    for got, want, bound in triples:
        np.testing.assert_array_less(np.abs(got - want), 2 * gamma(2 * terms) * bound.numpy())


def test_an_upsampled_convolution_survives_saving(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3, 4, 3)), UpsampledConv2D(2, 3, 3, name="enlarge")])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = normal(0, 2, 3, 4, 3)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.output_shape == (None, 9, 12, 2)


def test_shapes_of_unknown_images_are_known_as_far_as_possible():
    assert UpsampledConv2D(2).compute_output_shape((None, None, 4, 3)) == (None, None, 8, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "filters must be at least 1, received filters=0"),
        ({"kernel_size": 0}, "kernel_size must be at least 1"),
        ({"kernel_size": 4}, "kernel_size must be odd, received kernel_size=4"),
        ({"factor": 0}, "factor must be at least 1, received factor=0"),
    ],
    ids=["filters", "no kernel", "even kernel", "factor"],
)
def test_bad_sizes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        UpsampledConv2D(**{"filters": 2, **arguments})
