# SPDX-License-Identifier: MIT
"""A step of Adam for many tensors at once: exact where the numbers allow, bounded where not.

Graphs, XLA and memory are in test_adam_graph.py.
"""

import numpy as np
import oracles_adam as oracles
import pytest
import tensorflow as tf
from adam_cases import PUBLISHED, SHAPES, arguments, as_result, check_steps, flat_step, results
from asserts import assert_bit_identical, float32_exactly, gamma
from inputs import SIZES, integers
from routes import MODES, compiled, eager, graph, name

from fslcore import ops, twins


def unknown_shapes(function):
    """In a tf.function that knows nothing of its arguments' shapes."""

    def call(*tensors):
        return tf.function(function, input_signature=[tf.TensorSpec(None)] * len(tensors))(*tensors)

    return call


in_every_mode = pytest.mark.parametrize("mode", [*MODES, unknown_shapes], ids=name)
of_op_and_twin = pytest.mark.parametrize("step", [ops.adam_step, twins.adam_step], ids=["op", "twin"])


# Values ---------------------------------------------------------------------------------------------


@in_every_mode
@of_op_and_twin
def test_a_step_is_exact_where_numbers_allow(step, mode):
    # Gradients 0, 1, 3, 7 with their squares as the mean: the root is the gradient, the root and epsilon are
    # 1, 2, 4, 8, and the rate is 0.5 * sqrt(1 - 0.75).
    shapes = [*((n,) for n in SIZES), *SHAPES]
    gradients = [np.random.default_rng(i).choice(np.float32([0, 1, -3, 7]), s) for i, s in enumerate(shapes)]
    weights = [integers(i, *shape) for i, shape in enumerate(shapes)]
    squares = [g * g for g in gradients]
    options = {"learning_rate": 0.5, "beta_2": 0.75, "epsilon": 1.0}
    want = oracles.adam_step(weights, gradients, squares, 1.0, **options)
    got = results(step, mode, weights, gradients, squares, 1.0, **options)
    for part, wanted in zip(tf.nest.flatten(got), tf.nest.flatten(want), strict=True):
        np.testing.assert_array_equal(part, float32_exactly(wanted), strict=True)


@in_every_mode
@of_op_and_twin
@pytest.mark.parametrize("power", [1.0, 0.5, 1e-20])
def test_a_step_of_normal_numbers(step, mode, power):
    weights, gradients, squares = arguments(0)
    power = np.float32(power)
    got = results(step, mode, weights, gradients, squares, power, **PUBLISHED)
    check_steps(got, weights, [gradients], squares, power, **PUBLISHED)


@pytest.mark.parametrize("mode", [eager, graph, compiled], ids=name)
def test_many_steps_in_a_loop(mode):
    # The loop's own buffers may be written into, unlike those of a caller.
    weights, _, squares = arguments(1)
    gradients = [arguments(seed)[1] for seed in range(20)]
    count = len(weights)

    def loop(*tensors):
        def body(i, weights, squares, power):
            of_step = [g[i] for g in tensors[count:-count]]
            return i + 1, *ops.adam_step(weights, of_step, squares, power, **PUBLISHED)

        start = (0, list(tensors[:count]), list(tensors[-count:]), tf.ones(()))
        end = tf.while_loop(lambda i, *_: i < 20, body, start, maximum_iterations=20)
        return tf.nest.flatten(end[1:])

    stacked = [np.stack(of_tensor) for of_tensor in zip(*gradients, strict=True)]
    got = mode(loop)(*(tf.constant(array) for array in (*weights, *stacked, *squares)))
    check_steps(as_result(got), weights, gradients, squares, 1.0, **PUBLISHED)


@pytest.mark.parametrize("mode", [*MODES[1:], unknown_shapes], ids=name)
def test_every_mode_gives_the_same_bits(mode):
    want = results(ops.adam_step, eager, *arguments(2), 0.3, **PUBLISHED)
    got = results(ops.adam_step, mode, *arguments(2), 0.3, **PUBLISHED)
    for part, wanted in zip(tf.nest.flatten(got), tf.nest.flatten(want), strict=True):
        assert_bit_identical(part, wanted)


@in_every_mode
@of_op_and_twin
def test_a_gradient_that_was_always_zero_leaves_its_weight_alone(step, mode):
    weights, _, _ = arguments(3)
    zeros = [np.zeros_like(w) for w in weights]
    got = results(step, mode, weights, zeros, zeros, 1.0, **PUBLISHED)
    for part, wanted in zip((*got.weights, *got.squares), (*weights, *zeros), strict=True):
        assert_bit_identical(part, wanted)


@in_every_mode
@of_op_and_twin
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_spoils_its_own_element_only(step, mode, poison):
    shape = (3, 11)
    clean = arguments(4, [shape, shape])
    weights, gradients, squares = arguments(4, [shape, shape])
    gradients[1][1, 7] = poison
    got = results(step, mode, weights, gradients, squares, 0.9, **PUBLISHED)
    want = results(step, mode, *clean, 0.9, **PUBLISHED)
    assert np.isnan(got.weights[1][1, 7])
    assert not np.isfinite(got.squares[1][1, 7])
    for part, wanted in ((got.weights[1], want.weights[1]), (got.squares[1], want.squares[1])):
        part[1, 7] = wanted[1, 7]
    for part, wanted in zip(tf.nest.flatten(got), tf.nest.flatten(want), strict=True):
        assert_bit_identical(part, wanted)


@in_every_mode
@of_op_and_twin
def test_huge_gradients_make_steps_of_the_learning_rate_or_none(step, mode):
    # 1e18 squared is 1e36; 1e20 squared is beyond float32, and the quotient of anything finite and it 0.
    weights, huge = [np.ones(9, np.float32)], [np.tile(np.float32([1e18, -1e18, 1e20]), 3)]
    options = {"learning_rate": 0.25, "beta_2": 0.0, "epsilon": 1e-8}
    got = results(step, mode, weights, huge, [np.zeros(9, np.float32)], 1.0, **options)
    np.testing.assert_allclose(got.weights[0], np.tile([0.75, 1.25, 1.0], 3), rtol=gamma(8))
    assert list(np.isinf(got.squares[0])) == [False, False, True] * 3


# Bad input ------------------------------------------------------------------------------------------

GOOD = {"weights": [(2, 3), (4,)], "gradients": [(2, 3), (4,)], "squares": [(2, 3), (4,)], "power": [()]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"gradients": [(2, 3), (5,)]},
            r"gradients\[1\] must have shape \[4\], received shape \[5\]",
        ),
        (
            {"gradients": [(3, 2), (4,)]},
            r"gradients\[0\] must have shape \[2, 3\], received shape \[3, 2\]",
        ),
        (
            {"squares": [(6,), (4,)]},
            r"squares\[0\] must have shape \[2, 3\], received shape \[6\]",
        ),
        (
            {"squares": [(2, 3), (1, 4)]},
            r"squares\[1\] must have shape \[4\], received shape \[1, 4\]",
        ),
        ({"power": [(1,)]}, r"power must have shape \[\], received shape \[1\]"),
    ],
)
def test_bad_shapes(wrong, message):
    tensors = [tf.ones(shape) for shapes in (GOOD | wrong).values() for shape in shapes]
    run = flat_step(ops.adam_step, 2, **PUBLISHED)
    for mode in (eager, graph):
        with pytest.raises(ValueError, match=message):
            mode(run)(*tensors)
    # What a graph cannot know beforehand, the kernel says, and XLA's before it compiles.
    for jit_compile in (False, True):
        unknown = tf.function(run, input_signature=[tf.TensorSpec(None)] * 7, jit_compile=jit_compile)
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
            unknown(*tensors)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"weights": [], "gradients": [], "squares": []},
            "weights must hold at least one tensor, received none",
        ),
        ({"gradients": [1.0]}, "gradients must hold a tensor for each of the 2 weights, received 1"),
        ({"squares": [1.0] * 3}, "squares must hold a tensor for each of the 2 weights, received 3"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, received learning_rate='fast'"),
        ({"beta_2": None}, "beta_2 must be a number, received beta_2=None"),
        ({"epsilon": "small"}, "epsilon must be a number, received epsilon='small'"),
    ],
)
def test_bad_lists_and_options(wrong, message):
    good = {"weights": [1.0, 2.0], "gradients": [1.0, 2.0], "squares": [1.0, 2.0], "power": 1.0, **PUBLISHED}
    with pytest.raises(ValueError, match=message):
        ops.adam_step(**good | wrong)
