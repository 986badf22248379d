# SPDX-License-Identifier: MIT
"""A step of Adam inside TensorFlow: whose memory is written into, dynamic shapes, other types."""

import numpy as np
import pytest
import tensorflow as tf
from adam_cases import PUBLISHED, arguments, as_result, check_steps, results
from asserts import assert_bit_identical
from inputs import normal
from routes import MODES, compiled, eager, graph, name

from fslcore import ops
from fslcore.learners import Adam

# Memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [tf.constant, np.array, tf.Variable], ids=["tensor", "array", "variable"])
@pytest.mark.parametrize("mode", [eager, graph], ids=name)
def test_what_the_caller_holds_is_not_written_into(mode, convert):
    # Large enough for TensorFlow to share an array's memory instead of copying it.
    parts = arguments(5, [(64, 64), (7,)])
    held = [[convert(array) for array in part] for part in parts]
    run = mode(lambda: tf.nest.flatten(ops.adam_step(*held, 0.5, **PUBLISHED)))
    first, second = run(), run()
    for part, wanted in zip(tf.nest.flatten(held), tf.nest.flatten(parts), strict=True):
        assert_bit_identical(np.asarray(part), wanted)
    for part, wanted in zip(second, first, strict=True):
        assert_bit_identical(part, wanted)


@pytest.mark.parametrize("mode", [eager, graph, compiled], ids=name)
def test_one_tensor_may_be_several_arguments(mode):
    x = np.abs(arguments(6, [(5, 9)])[0][0])
    want = results(ops.adam_step, eager, [x, x], [x, x], [x, x], 0.5, **PUBLISHED)

    def run(x):
        y = x + 0.0  # nobody else's: TensorFlow may give away its memory once
        return tf.nest.flatten(ops.adam_step([y, y], [y, y], [y, y], 0.5, **PUBLISHED))

    for part, wanted in zip(mode(run)(tf.constant(x)), tf.nest.flatten(want), strict=True):
        assert_bit_identical(np.asarray(part), wanted)


@pytest.mark.parametrize("used", ["weights", "gradients", "squares"])
def test_a_graph_may_use_what_it_gave_to_a_step(used):
    weights, gradients, squares = arguments(7, [(8, 9)])

    def run(weights, gradients, squares):
        given = {"weights": weights * 2.0, "gradients": gradients * 2.0, "squares": squares * 2.0}
        step = ops.adam_step(*([tensor] for tensor in given.values()), 0.5, **PUBLISHED)
        with tf.control_dependencies([step.weights[0]]):
            return given[used] + 0.0

    got = tf.function(run)(*(tf.constant(part[0]) for part in (weights, gradients, squares)))
    want = {"weights": weights, "gradients": gradients, "squares": squares}[used][0]
    np.testing.assert_array_equal(got, 2 * want)


# Inside TensorFlow ----------------------------------------------------------------------------------


def test_tensors_of_dynamic_size_inside_a_compiled_function():
    # tf.boolean_mask has a size that XLA knows at run time only.
    keep = np.arange(9) % 3 != 1
    parts = arguments(10, [(9, 2)])

    def run(keep, *tensors):
        step = ops.adam_step(*([tf.boolean_mask(t, keep)] for t in tensors), 0.5, **PUBLISHED)
        return tf.nest.flatten(step)

    tensors = [tf.constant(keep), *(tf.constant(part[0]) for part in parts)]
    for part, wanted in zip(tf.function(run, jit_compile=True)(*tensors), run(*tensors), strict=True):
        assert_bit_identical(part.numpy(), wanted.numpy())


@pytest.mark.parametrize("mode", [eager, graph], ids=name)
def test_the_gradient_of_a_gathered_table_is_taken(mode):
    def run(table):
        with tf.GradientTape() as tape:
            tape.watch(table)
            loss = tf.reduce_sum(tf.gather(table, [0, 2, 2]) ** 2)
        sparse = tape.gradient(loss, table)
        assert isinstance(sparse, tf.IndexedSlices)
        return ops.adam_step([table], [sparse], [tf.zeros_like(table)], 1.0, **PUBLISHED).weights[0]

    table = normal(0, 4, 3)
    dense = [2 * table * np.float32([1, 0, 2, 0])[:, None]]
    want = results(ops.adam_step, eager, [table], dense, [np.zeros_like(table)], 1.0, **PUBLISHED)
    np.testing.assert_array_equal(mode(run)(tf.constant(table)), want.weights[0])


def test_shapes_are_inferred_as_far_as_they_are_known():
    @tf.function(input_signature=[tf.TensorSpec(shape) for shape in ([None, 3], [2, None], None)])
    def trace(weights, gradients, squares):
        result = ops.adam_step([weights], [gradients], [squares], 1.0, **PUBLISHED)
        shapes.extend(tuple(tensor.shape) for tensor in tf.nest.flatten(result))
        return result.power

    shapes = []
    trace.get_concrete_function()
    assert shapes == [(2, 3), (2, 3), ()]


@pytest.mark.parametrize("mode", MODES, ids=name)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floating_types_are_cast(mode, dtype):
    parts = [[a.astype(dtype) for a in part] for part in arguments(11)]
    got = results(ops.adam_step, mode, *parts, 0.5, **PUBLISHED)
    narrow = [[a.astype(np.float32) for a in part] for part in parts]
    want = results(ops.adam_step, eager, *narrow, 0.5, **PUBLISHED)
    for part, wanted in zip(tf.nest.flatten(got), tf.nest.flatten(want), strict=True):
        assert_bit_identical(part, wanted)


@pytest.mark.parametrize("devices", [[], ["GPU"]], ids=["cpu", "beside a gpu"])
def test_the_inner_optimizer_takes_this_step(monkeypatch, devices):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
    weights, gradients, _ = arguments(12)
    adam, reached = Adam(**PUBLISHED), weights
    state = adam.initial_state([tf.constant(w) for w in weights])
    for _ in range(3):
        reached, state = adam.update(reached, gradients, state)
    zeros = [np.zeros_like(w) for w in weights]
    check_steps(as_result([*reached, *state]), weights, [gradients] * 3, zeros, 1.0, **PUBLISHED)
