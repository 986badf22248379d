# SPDX-License-Identifier: MIT
"""The fused batch normalisation is the Keras layer, only faster."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from fslcore.layers import FusedBatchNormalization

EPS = {"float32": 2.0**-23, "mixed_float16": 2.0**-10, "mixed_bfloat16": 2.0**-7}


def built(layer, shape):
    layer.build(shape)
    layer.gamma.assign(np.linspace(1.0, 2.0, shape[-1]))
    layer.beta.assign(np.linspace(-1.0, 1.0, shape[-1]))
    return layer


def trained(layer, x, compiled):
    """Outputs, gradient and moving averages after one training call."""

    @tf.function(jit_compile=compiled)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.cast(layer(x, training=True), tf.float32)
            loss = tf.reduce_sum(y**3)
        return y, tape.gradient(loss, x)

    y, gradient = step(tf.constant(x))
    return y.numpy(), gradient.numpy(), layer.moving_mean.numpy(), layer.moving_variance.numpy()


@pytest.mark.parametrize("policy", EPS)
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (1, 2, 2, 1)], ids=str)
def test_training_equals_the_keras_layer(policy, compiled, shape):
    x = np.random.default_rng(0).normal(3.0, 2.0, shape).astype(np.float32)
    ours = trained(built(FusedBatchNormalization(dtype=policy), shape), x, compiled)
    keras_own = trained(built(keras.layers.BatchNormalization(dtype=policy), shape), x, compiled)
    # Normalised values of n are below 2 sqrt(n) in size, and both ways round them a few times.
    count = x.size // shape[-1]
    for value, want, magnitude in zip(ours, keras_own, (4, 50, 4, 16), strict=True):
        np.testing.assert_allclose(value, want, rtol=0, atol=16 * EPS[policy] * magnitude * np.sqrt(count))


def test_moving_variance_is_that_of_the_batch_itself():
    # Values 0 and 2: variance 1 exactly, 8/7 without bias.
    x = np.tile(np.float32([0.0, 2.0]), 4).reshape(2, 2, 2, 1)
    layer = built(FusedBatchNormalization(momentum=0.5), x.shape)
    layer(x, training=True)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), [0.5])
    np.testing.assert_allclose(layer.moving_variance.numpy(), [1.0], rtol=4 * EPS["float32"])


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"scale": False}, (4, 3, 3, 2)),
        ({"axis": 1}, (4, 3, 3, 2)),
        ({}, (4, 5)),
        ({"center": False}, (4, 3, 3, 2)),
    ],
    ids=["no scale", "axis 1", "vectors", "no centre"],
)
def test_what_the_fused_kernel_does_not_cover_is_left_to_keras(arguments, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ours, keras_own = FusedBatchNormalization(**arguments), keras.layers.BatchNormalization(**arguments)
    np.testing.assert_array_equal(ours(x, training=True), keras_own(x, training=True))


def test_inference_and_frozen_layers_use_and_keep_the_averages():
    x = np.random.default_rng(0).normal(size=(4, 3, 3, 2)).astype(np.float32)
    layer = built(FusedBatchNormalization(), x.shape)
    layer(x, training=False)
    layer.trainable = False
    frozen = layer(x, training=True)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), [0.0, 0.0])
    np.testing.assert_array_equal(frozen, layer(x, training=False))


def test_config_round_trip():
    layer = FusedBatchNormalization(momentum=0.8, epsilon=1e-4)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is FusedBatchNormalization
    assert copy.get_config() == layer.get_config()
