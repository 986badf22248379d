# SPDX-License-Identifier: MIT
"""A step of Adam for many tensors at once: exact where the numbers allow, bounded where not."""

import numpy as np
import oracles_optimization as oracles
import pytest
import tensorflow as tf
from asserts import TINY, UNIT, assert_bit_identical, float32_exactly, gamma
from inputs import SIZES, integers, normal
from modes import MODES, compiled, eager, graph, name

from fslcore import ops, twins
from fslcore.learners import Adam


def unknown_shapes(function):
    """In a tf.function that knows nothing of its arguments' shapes."""

    def call(*tensors):
        return tf.function(function, input_signature=[tf.TensorSpec(None)] * len(tensors))(*tensors)

    return call


in_every_mode = pytest.mark.parametrize("mode", [*MODES, unknown_shapes], ids=name)
of_op_and_twin = pytest.mark.parametrize("step", [ops.adam_step, twins.adam_step], ids=["op", "twin"])

SHAPES = [(3, 3, 2, 5), (17,), (), (4, 0, 2), (33, 2), (1,)]
PUBLISHED = {"learning_rate": 0.001, "beta_2": 0.999, "epsilon": 1e-8}


def arguments(seed, shapes=SHAPES):
    """Weights, gradients and squares, the latter at least 0.1."""
    parts = [[normal(seed + 100 * part + i, *shape) for i, shape in enumerate(shapes)] for part in range(3)]
    return parts[0], parts[1], [np.float32(0.1) + s * s for s in parts[2]]


def flat_step(step, count, **options):
    """`step` as a function of flat tensors, to run in a mode: the inner structure is that of the results."""

    def call(*tensors):
        lists = [tensors[i * count : (i + 1) * count] for i in range(3)]
        return tf.nest.flatten(step(*lists, tensors[-1], **options))

    return call


def as_result(flat):
    """An AdamStepResult of arrays of our own, from tensors one after the other."""
    *lists, power = (np.array(tensor) for tensor in flat)
    return ops.AdamStepResult(lists[: len(lists) // 2], lists[len(lists) // 2 :], power)


def results(step, mode, weights, gradients, squares, power, **options):
    """An AdamStepResult of arrays."""
    tensors = [tf.constant(array) for array in (*weights, *gradients, *squares, np.float32(power))]
    return as_result(mode(flat_step(step, len(weights), **options))(*tensors))


def check_steps(got, weights, gradients, squares, power, **options):
    """Against the oracle after a step for each list in `gradients`; bounds to first order in the roundoff.

    Constants are rounded too. After t steps there are at most 2 t roundings in the power, which 1 - power
    magnifies, and 4 t in a square, whose terms are all positive; roots halve both. An update has nine more:
    the difference, its root, the learning rate and two products, the other root, epsilon, the sum and the
    quotient. The new weight is one more.
    """
    bounds = [np.zeros(w.shape) for w in weights]
    for t, of_step in enumerate(gradients, 1):
        before = weights
        weights, squares, power = oracles.adam_step(before, of_step, squares, power, **options)
        of_update = gamma(2 * t) / 2 * power / (1 - power) + gamma(4 * t) / 2 + gamma(9)
        for i, (old, new) in enumerate(zip(before, weights, strict=True)):
            bounds[i] = bounds[i] + of_update * np.abs(new - old) + UNIT * np.abs(new)
    steps = len(gradients)
    assert abs(float(got.power) - power) <= gamma(2 * steps) * power
    for i, bound in enumerate(bounds):
        assert got.weights[i].shape == got.squares[i].shape == weights[i].shape
        assert np.all(np.abs(got.squares[i] - squares[i]) <= gamma(4 * steps) * squares[i] + TINY)
        assert np.all(np.abs(got.weights[i] - weights[i]) <= 1.01 * bound + TINY)


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


# Bad input ------------------------------------------------------------------------------------------

GOOD = {"weights": [(2, 3), (4,)], "gradients": [(2, 3), (4,)], "squares": [(2, 3), (4,)], "power": [()]}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
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
def test_bad_shapes(wrong, sentence):
    tensors = [tf.ones(shape) for shapes in (GOOD | wrong).values() for shape in shapes]
    run = flat_step(ops.adam_step, 2, **PUBLISHED)
    for mode in (eager, graph):
        with pytest.raises(ValueError, match=sentence):
            mode(run)(*tensors)
    # What a graph cannot know beforehand, the kernel says, and XLA's before it compiles.
    for jit_compile in (False, True):
        unknown = tf.function(run, input_signature=[tf.TensorSpec(None)] * 7, jit_compile=jit_compile)
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=sentence):
            unknown(*tensors)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"weights": [], "gradients": [], "squares": []},
            "weights must hold at least one tensor, received none",
        ),
        ({"gradients": [1.0]}, "gradients must hold a tensor for each of the 2 weights, received 1"),
        ({"squares": [1.0] * 3}, "squares must hold a tensor for each of the 2 weights, received 3"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, received 'fast'"),
        ({"beta_2": None}, "beta_2 must be a number, received None"),
        ({"epsilon": "small"}, "epsilon must be a number, received 'small'"),
    ],
)
def test_bad_lists_and_options(wrong, sentence):
    good = {"weights": [1.0, 2.0], "gradients": [1.0, 2.0], "squares": [1.0, 2.0], "power": 1.0, **PUBLISHED}
    with pytest.raises(ValueError, match=sentence):
        ops.adam_step(**good | wrong)
