# SPDX-License-Identifier: MIT
"""Any two-input layer as a kernel, a block of rows at a time: the values, the gradients, and the memory."""

import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from asserts import assert_bit_identical
from inputs import integers, normal
from routes import MODES, name

from fslcore.layers import GramMatrix
from fslcore.layers.row_blocks import pairwise_in_blocks
from fslcore.losses import BinaryCrossentropy

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)


@keras.saving.register_keras_serializable(package="tests")
class Skewed(keras.Layer):
    """sum_d w_d (2 a_d - b_d)^2 + bias: not symmetric, and exact on small integers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []  # pairs of each call

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[0][1],), initializer="random_normal", name="scale")
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias")
        self.offset = self.add_weight(shape=(), initializer="zeros", trainable=False, name="offset")

    def call(self, inputs):
        first, second = inputs
        self.seen.append(first.shape[0])
        difference = tf.square(2.0 * first - second) + tf.convert_to_tensor(self.offset)
        score = tf.reduce_sum(tf.convert_to_tensor(self.scale) * difference, axis=1, keepdims=True)
        return score + tf.convert_to_tensor(self.bias)


def skewed(dim):
    kernel = Skewed()
    kernel.build([(None, dim), (None, dim)])
    kernel.set_weights([integers(7, dim), np.float32(3), np.float32(2)])
    return kernel


def value_and_gradients(kernel, pairs_per_block):
    def call(x, y, upstream):
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            out = pairwise_in_blocks(kernel, x, y, pairs_per_block)
        return out, *tape.gradient(out, [x, y, *kernel.trainable_variables], output_gradients=upstream)

    return call


SIZES = {
    "one block": (3, 4, 4, 12),
    "blocks of 2 rows and a rest": (7, 4, 4, 9),
    "even blocks": (6, 4, 4, 12),
    "less than a row per block": (3, 20, 4, 7),
    "one row": (1, 5, 4, 2),
    "one pair": (1, 1, 1, 1),
    "no x": (0, 4, 4, 8),
    "no y": (3, 0, 4, 8),
}


@in_every_mode
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_values_and_gradients_are_those_of_the_pairs(mode, size):
    n, m, dim, pairs_per_block = size
    x, y, upstream = integers(0, n, dim), integers(1, m, dim), integers(2, n, m)
    kernel = skewed(dim)
    weights, bias, offset = (w.astype(np.float64) for w in kernel.get_weights())
    difference = 2.0 * x[:, None] - y[None, :]
    by_first = 4 * upstream[..., None] * weights * difference
    want = (
        (weights * (difference**2 + offset)).sum(axis=2) + bias,
        by_first.sum(axis=1),
        -by_first.sum(axis=0) / 2,
        (upstream[..., None] * (difference**2 + offset)).sum(axis=(0, 1)),
        upstream.sum(),
    )
    got = mode(value_and_gradients(kernel, pairs_per_block))(*map(tf.constant, (x, y, upstream)))
    for part, wanted in zip(got, want, strict=True):
        # Integers: below 8 * 4 * ((3 * 8)^2 + 2) * 8 * 140 pairs there is no 2^24, so all sums are exact.
        np.testing.assert_array_equal(part, wanted)


def test_no_call_sees_more_pairs_than_it_may():
    kernel = skewed(3)
    x = tf.constant(normal(0, 23, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = pairwise_in_blocks(kernel, x, x, 23 * 4)
    forward = list(kernel.seen)
    tape.gradient(out, x)
    # 23 rows, at most 4 to a block: 6 blocks of 4. Backward evaluates as many again.
    assert forward == [4 * 23] * 6
    assert kernel.seen[len(forward) :] == forward


class Remembering(Skewed):
    """Keeps what it saw and returned last."""

    def call(self, inputs):
        self.last = inputs[0], super().call(inputs)
        return self.last[1]


def test_an_eager_tape_does_not_keep_the_pairs_of_the_forward_pass():
    kernel = Remembering()
    kernel.build([(None, 3), (None, 3)])
    x = tf.constant(normal(0, 8, 3))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        out = pairwise_in_blocks(kernel, x, x, 16)
    seen, returned = kernel.last
    # It would keep them, 8 * 8 * 3 floats and the kernel's own, in order to differentiate here.
    assert tape.gradient(returned, seen) is None
    assert tape.gradient(returned, x) is None
    assert tape.gradient(out, x) is not None


def largest_array(function, *arguments):
    program = function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    return max(
        math.prod(int(n) for n in shape.split(",")) for shape in re.findall(r"f32\[([\d,]+)\]", program)
    )


def test_compiled_forward_and_backward_hold_one_block_at_a_time():
    n, dim, pairs_per_block = 64, 16, 256
    kernel = skewed(dim)
    function = tf.function(value_and_gradients(kernel, pairs_per_block), jit_compile=True)
    x, upstream = tf.zeros([n, dim]), tf.zeros([n, n])
    assert largest_array(function, x, x, upstream) <= max(pairs_per_block * dim, n * n)
    # All pairs at once, for the test to be worth something.
    whole = tf.function(value_and_gradients(kernel, n * n), jit_compile=True)
    assert largest_array(whole, x, x, upstream) == n * n * dim


@in_every_mode
def test_gram_matrix_uses_the_layer(mode):
    x = integers(0, 9, 3)
    layer = GramMatrix(skewed(3), pairs_per_block=20)
    weights, bias, offset = layer.get_weights()
    want = (weights * ((2 * x[:, None] - x[None, :]) ** 2 + offset)).sum(axis=2) + bias
    np.testing.assert_array_equal(mode(layer)(x), want)


def test_the_same_matrix_twice_gets_both_gradients():
    x = tf.constant(integers(0, 5, 3))
    layer = GramMatrix(skewed(3), pairs_per_block=10)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x))
    weights = layer.get_weights()[0]
    difference = 2 * x[:, None] - x[None, :]
    want = np.sum(4 * weights * difference, axis=1) - np.sum(2 * weights * difference, axis=0)
    np.testing.assert_array_equal(tape.gradient(total, x), want)


def two_inputs():
    """A functional model of two embeddings."""
    first, second = keras.Input((3,)), keras.Input((3,))
    hidden = keras.layers.Dense(4, activation="tanh")(keras.layers.Concatenate()([first, second]))
    return keras.Model([first, second], keras.layers.Dense(1, activation="sigmoid")(hidden))


def siamese(kernel):
    return keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(3), GramMatrix(kernel, pairs_per_block=16)]
    )


@pytest.mark.parametrize("kernel", [Skewed, two_inputs], ids=["layer", "functional model"])
def test_a_saved_model_has_the_same_kernel(tmp_path, kernel):
    model = siamese(kernel())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].pairs_per_block == 16
    x = normal(0, 6, 5)
    assert_bit_identical(loaded(x), model(x))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_the_kernel_trains_in_fit(jit_compile):
    keras.utils.set_random_seed(0)
    model = siamese(two_inputs())
    model.compile("sgd", BinaryCrossentropy(balanced=True), jit_compile=jit_compile)
    before = model.get_weights()
    model.fit(normal(0, 14, 5), np.arange(14) % 7, batch_size=10, verbose=0)  # batches of 10 and 4
    assert all(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_frozen_weights_stay():
    kernel = two_inputs()
    kernel.trainable = False
    model = siamese(kernel)
    assert len(model.trainable_variables) == 2  # the encoder's
    model.compile("sgd", BinaryCrossentropy())
    before = kernel.get_weights()
    model.fit(normal(0, 10, 5), np.arange(10) % 5, verbose=0)
    for value, was in zip(kernel.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, was)


@pytest.mark.parametrize("extra", [lambda: keras.layers.Dropout(0.5), keras.layers.BatchNormalization])
def test_a_kernel_whose_state_changes_is_refused_in_training_only(extra):
    first, second = keras.Input((3,)), keras.Input((3,))
    hidden = extra()(keras.layers.Dense(4)(keras.layers.Subtract()([first, second])))
    layer = GramMatrix(keras.Model([first, second], keras.layers.Dense(1)(hidden)))
    x = normal(0, 6, 3)
    assert layer(x).shape == (6, 6)
    with pytest.raises(
        ValueError, match=r"kernel must be a function of two rows, received 'functional.*state"
    ):
        layer(x, training=True)


def test_a_kernel_of_another_shape_is_refused():
    first, second = keras.Input((3,)), keras.Input((3,))
    kernel = keras.Model([first, second], keras.layers.Subtract()([first, second]))
    with pytest.raises(
        ValueError, match=r"kernel must return \[pairs, 1\] or \[pairs\].*received \(None, 3\)"
    ):
        GramMatrix(kernel)(normal(0, 6, 3))


def test_a_kernel_may_return_one_axis():
    first, second = keras.Input((3,)), keras.Input((3,))
    kernel = keras.Model([first, second], keras.layers.Dot(axes=1)([first, second])[:, 0])
    x = integers(0, 6, 3)
    np.testing.assert_array_equal(GramMatrix(kernel)(x), x @ x.T)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_kernel_keeps_its_own_policy_and_scores_are_float32(policy):
    kernel = Skewed(dtype=policy)
    layer = GramMatrix(kernel, pairs_per_block=8)
    x = integers(0, 5, 2)
    scores = layer(x)
    assert scores.dtype == tf.float32
    weights = kernel.get_weights()[0]
    want = (weights * (2 * x[:, None] - x[None, :]) ** 2).sum(axis=2)
    # Unit roundoff of the wider bfloat16, for the square, the product, the sum and the two additions.
    limit = 5 * 2.0**-8 * (np.abs(weights) * (2 * x[:, None] - x[None, :]) ** 2).sum(axis=2)
    assert np.all(np.abs(scores - want) <= limit)
    assert {w.dtype for w in kernel.weights} == {"float32"}
