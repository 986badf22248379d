# SPDX-License-Identifier: MIT
"""The layer is four of Keras in one: equal in training and in inference, and saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from combinations import first_with_all
from inputs import integers, normal

from fslcore import ops, twins
from fslcore.layers import ConvBlock, convolution

UNIT = 2.0**-24


def built(strides=2, pool_size=1, dtype="float32"):
    """A layer of 5 filters on 3 channels, and Keras' layers with the same weights."""
    keras.utils.set_random_seed(0)
    layer = ConvBlock(5, strides=strides, pool_size=pool_size, dtype=dtype)
    layer.build((None, 7, 6, 3))
    layer.gamma.assign(np.linspace(0.5, 1.5, 5))
    layer.beta.assign(np.linspace(-0.5, 0.5, 5))
    layer.moving_mean.assign(np.linspace(-1.0, 1.0, 5))
    layer.moving_variance.assign(np.linspace(1.0, 2.0, 5))
    several = keras.Sequential(
        [
            keras.Input((7, 6, 3)),
            keras.layers.Conv2D(5, 3, strides, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(pool_size),
        ]
    )
    for ours, theirs in zip(layer.weights, several.weights, strict=True):
        assert ours.name == theirs.name
        theirs.assign(ours)
    return layer, several


def step(layer, x, training, mode):
    """Outputs, gradients of the trainable weights and of x, and the non-trainable weights afterwards."""

    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=training)
            loss = tf.reduce_sum(outputs**3)
        weights = [weight.value for weight in layer.trainable_variables]
        return outputs, *tape.gradient(loss, [x, *weights])

    results = mode(run)(tf.constant(x))
    return [np.asarray(part) for part in (*results, *layer.non_trainable_variables)]


MODES = {"eager": lambda f: f, "graph": tf.function, "xla": tf.function(jit_compile=True)}


@pytest.fixture(params=MODES)
def mode(request):
    """How a function of tensors runs."""
    return MODES[request.param]


@pytest.fixture(params=["op", "twin"])
def implementation(request, monkeypatch):
    """With the compiled op, and as on a machine with a GPU."""
    monkeypatch.setattr(convolution, "has_conv_block", lambda: request.param == "op")


@pytest.mark.parametrize(
    ("mode", "implementation", "sizes", "training"),
    first_with_all(list(MODES), ("op", "twin"), ((1, 1), (1, 2), (2, 1), (2, 2)), (True, False)),
    indirect=["mode", "implementation"],
    ids=str,
)
def test_the_layer_equals_the_layers_of_keras(mode, implementation, sizes, training):
    strides, pool_size = sizes
    layer, several = built(strides, pool_size)
    assert layer.compute_output_shape((4, 7, 6, 3)) == (4, *several.output_shape[1:])
    x = normal(1, 4, 7, 6, 3)
    for part, want in zip(step(layer, x, training, mode), step(several, x, training, mode), strict=True):
        # The two round sums of up to 4 * 42 positions and 27 products in different orders, and what they sum
        # is at most some 30 times the largest result.
        np.testing.assert_allclose(part, want, rtol=0, atol=30 * (168 + 27) * UNIT * np.abs(want).max())


def test_the_fallback_is_for_machines_with_a_gpu(monkeypatch):
    assert convolution.has_conv_block()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert not convolution.has_conv_block()


def test_moving_averages_move_by_the_momentum_of_the_moment():
    # One filter that passes the middle tap on: values 0 and 2, so mean 1 and variance 1.
    x = np.tile(np.float32([0.0, 2.0]), 8).reshape(1, 4, 4, 1)
    layer = ConvBlock(1, strides=1, momentum=0.5)
    layer.build(x.shape)
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    layer.kernel.assign(kernel)
    layer.moving_variance.assign([3.0])
    layer(x, training=True)
    assert (layer.moving_mean.numpy(), layer.moving_variance.numpy()) == (0.5, 2.0)
    layer.momentum = 0.0
    layer(x, training=True)
    assert (layer.moving_mean.numpy(), layer.moving_variance.numpy()) == (1.0, 1.0)


def test_inference_and_frozen_layers_use_and_keep_the_averages():
    layer, _ = built()
    x = normal(1, 4, 7, 6, 3)
    before = [weight.numpy() for weight in layer.weights]
    inference = layer(x)
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), inference)
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_stateless_call_returns_the_moved_averages():
    layer, _ = built()
    x = normal(1, 4, 7, 6, 3)
    trainable, others = (
        [w.value for w in ws] for ws in (layer.trainable_variables, layer.non_trainable_variables)
    )
    kept = [tf.identity(value) for value in others]
    outputs, moved = layer.stateless_call(trainable, others, x, training=True)
    for weight, value in zip(layer.non_trainable_variables, kept, strict=True):
        np.testing.assert_array_equal(weight, value)
    np.testing.assert_array_equal(outputs, layer(x, training=True))
    for weight, value in zip(layer.non_trainable_variables, moved, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
def test_mixed_precision_rounds_the_outputs_alone(training):
    wide, _ = built()
    narrow, _ = built(dtype="mixed_float16")
    x = integers(1, 4, 7, 6, 3)  # exact in float16 too
    want = wide(x, training=training)
    got = narrow(x, training=training)
    assert got.dtype == tf.float16
    assert {weight.dtype for weight in narrow.weights} == {"float32"}
    np.testing.assert_array_equal(got, tf.cast(want, tf.float16))


@pytest.mark.parametrize("compiled", [True, False], ids=["op", "twin"])
def test_precision_is_that_of_training(compiled, monkeypatch):
    monkeypatch.setattr(convolution, "has_conv_block", lambda: compiled)
    exact, _ = built()
    rough = ConvBlock.from_config({**exact.get_config(), "precision": "bfloat16"})
    x = normal(1, 4, 7, 6, 3)
    rough.build(x.shape)
    for theirs, ours in zip(rough.weights, exact.weights, strict=True):
        theirs.assign(ours)
    np.testing.assert_array_equal(rough(x), exact(x))
    block = ops.conv_block if compiled else twins.conv_block
    want = block(x, exact.kernel, exact.gamma, exact.beta, precision="bfloat16").outputs
    np.testing.assert_array_equal(rough(x, training=True), want)
    assert np.any(exact(x, training=True) != want)


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            ConvBlock(16),
            ConvBlock(8, 1),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_fit(jit_compile):
    # Three classes: a bright row at the top, in the middle and at the bottom.
    labels = np.arange(48) % 3
    x = normal(0, 48, 9, 9, 1)
    x[np.arange(48), labels * 4] += 3
    model = network()
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    model.fit(x, labels, batch_size=24, epochs=15, verbose=0)
    assert model.evaluate(x, labels, verbose=0)[1] > 0.9  # a third by chance; moving averages included


def test_saving(tmp_path):
    model = network()
    x = normal(0, 5, 9, 9, 1)
    model(x, training=True)
    want = model(x)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), want)
    model.save_weights(tmp_path / "model.weights.h5")
    other = network()
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(x), want)


def test_config_round_trip():
    layer = ConvBlock(7, strides=1, momentum=0.8, epsilon=1e-4, precision="bfloat16", name="block")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is ConvBlock
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize("strides", [1, 2])
def test_output_shape(strides):
    layer = ConvBlock(7, strides=strides)
    assert layer.compute_output_shape((None, None, 9, 3)) == (None, None, -(-9 // strides), 7)
    assert layer(np.zeros((2, 9, 8, 3))).shape == layer.compute_output_shape((2, 9, 8, 3))
    assert layer.count_params() == 3 * 3 * 3 * 7 + 4 * 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be at least 1, received filters=0"),
        ({"filters": 4, "strides": 3}, "strides must be 1 or 2, received strides=3"),
        ({"filters": 4, "epsilon": 0.0}, "epsilon must be positive and finite, received epsilon=0.0"),
        (
            {"filters": 4, "precision": "half"},
            "precision must be one of float32, bfloat16, received precision='half'",
        ),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ConvBlock(**options)


@pytest.mark.parametrize("shape", [(None, 9, 9), (None, 9, 9, None)], ids=str)
def test_bad_inputs(shape):
    with pytest.raises(ValueError, match=r"inputs must be .* with known channels, received shape"):
        ConvBlock(4).build(shape)
