# SPDX-License-Identifier: MIT
"""Derivatives of a step of Adam, of first and second order."""

import numpy as np
import oracles_adam as oracles
import pytest
import tensorflow as tf
from asserts import gamma
from inputs import normal
from routes import MODES, compiled, eager, graph, name

from fslcore import ops, twins

of_op_and_twin = pytest.mark.parametrize("step", [ops.adam_step, twins.adam_step], ids=["op", "twin"])
SHAPES = [(2, 3), ()]
# 1 - power stays away from 0, where it would magnify rounding, and so do the roots.
OPTIONS = {"learning_rate": 0.5, "beta_2": 0.75, "epsilon": 0.125}


def arguments(seed):
    """Weights, gradients and squares, tensor after tensor, and the power."""
    tensors = [normal(seed + i, *shape) for i, shape in enumerate(3 * SHAPES)]
    return [*tensors[:4], *(np.float32(0.1) + s * s for s in tensors[4:]), np.float32(0.5)]


def flat(step, tensors):
    """All results of a step, tensor after tensor."""
    result = step(tensors[:2], tensors[2:4], tensors[4:6], tensors[6], **OPTIONS)
    return [*result.weights, *result.squares, result.power]


def central_differences(function, arrays, h=1e-6):
    """The gradient of a scalar function of float64 arrays; good to about 1e-9."""
    gradients = [np.zeros(array.shape) for array in arrays]
    for array, gradient in zip(arrays, gradients, strict=True):
        for i in np.ndindex(array.shape):
            kept = array[i]
            array[i] = kept + h
            ahead = function(arrays)
            array[i] = kept - h
            gradient[i] = (ahead - function(arrays)) / (2 * h)
            array[i] = kept
    return gradients


@pytest.mark.parametrize("mode", MODES, ids=name)
@of_op_and_twin
def test_gradients_of_all_results_by_all_arguments(step, mode):
    factors = [normal(20 + i, *shape) for i, shape in enumerate([*SHAPES, *SHAPES, ()])]

    def value(arrays):
        parts = flat(oracles.adam_step, arrays)
        return sum(np.sum(np.float64(f) * part) for f, part in zip(factors, parts, strict=True))

    def gradients(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            parts = flat(step, tensors)
            loss = tf.add_n([tf.reduce_sum(f * part) for f, part in zip(factors, parts, strict=True)])
        return tape.gradient(loss, tensors)

    arrays = arguments(0)
    got = mode(gradients)(*(tf.constant(array) for array in arrays))
    want = central_differences(value, [np.array(array, np.float64) for array in arrays])
    for part, wanted in zip(got, want, strict=True):
        # Some 40 roundings, of terms that are no larger than ten times the largest element.
        np.testing.assert_allclose(part, wanted, rtol=0, atol=10 * gamma(40) * np.abs(wanted).max())


@pytest.mark.parametrize("mode", [eager, graph, compiled], ids=name)
def test_second_derivatives_are_those_of_the_twin(mode):
    def derivatives(step):
        def run(*tensors):
            with tf.GradientTape() as outer:
                outer.watch(tensors)
                with tf.GradientTape() as inner:
                    inner.watch(tensors)
                    value = tf.add_n([tf.reduce_sum(part**3) for part in flat(step, tensors)])
                gradients = inner.gradient(value, tensors)
                value = tf.add_n([tf.reduce_sum(tf.sin(gradient)) for gradient in gradients])
            return outer.gradient(value, tensors)

        return mode(run)(*(tf.constant(array) for array in arguments(1)))

    for got, want in zip(derivatives(ops.adam_step), derivatives(twins.adam_step), strict=True):
        assert np.all(np.abs(want) > 0)
        # XLA may fuse the two in different ways: some hundred roundings.
        np.testing.assert_allclose(got, want, rtol=0, atol=10 * gamma(100) * np.abs(want).max())


@pytest.mark.parametrize("mode", [eager, graph, compiled], ids=name)
@of_op_and_twin
def test_the_slope_at_a_zero_gradient_is_the_limit(step, mode):
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            weights = step(*([tensor] for tensor in tensors), 1.0, **OPTIONS).weights[0]
        return tape.gradient(weights, tensors)

    slopes = mode(run)(tf.ones(3), tf.zeros(3), tf.zeros(3))
    rate = 0.5 * 0.5  # the learning rate, and the root of 1 - 0.75
    for slope, want in zip(slopes, (1.0, -rate / 0.125, 0.0), strict=True):
        np.testing.assert_array_equal(slope, np.full(3, want))
