# SPDX-License-Identifier: MIT
"""Inner loops in one op: as near to float64 as float32 allows, and the same as op by op."""

import numpy as np
import oracles_fitting as oracles
import pytest
import tensorflow as tf
from asserts import assert_bit_identical
from inputs import normal

from fslcore.ops import AdamOptions, FitBlock, fit_classifiers

ADAM = AdamOptions(beta_2=0.99, epsilon=1e-3)
BLOCKS = [FitBlock(2, 1, momentum=0.8), FitBlock(1, 2, epsilon=0.1), FitBlock()]
CLASSES, TASKS, IMAGES, STEPS, BATCH = 3, 5, 9, 3, 6


def arguments(blocks=BLOCKS, adam=None, tasks=TASKS, filters=(17, 8, 16)):
    """Tasks of images of 13 x 10, and a classifier that is not symmetric in anything."""
    rng = np.random.default_rng(0)
    weights, averages, channels, size = [], [], 2, np.array([13, 10])
    for i, (block, count) in enumerate(zip(blocks, filters, strict=False)):
        weights += [
            normal(i, 3, 3, channels, count) / 3,
            1 + normal(i + 10, count) / 4,
            normal(i + 20, count),
        ]
        averages += [normal(i + 30, count), 1 + normal(i + 40, count) ** 2]
        channels, size = count, -(-size // block.strides) // block.pool_size
    features = channels * int(np.prod(size))
    weights += [normal(50, features, CLASSES) / 4, normal(51, CLASSES)]
    memory = [] if adam is None else [*(np.abs(normal(60, *w.shape)) / 9 for w in weights), np.float32(0.9)]
    return {
        "images": normal(70, tasks, IMAGES, 13, 10, 2),
        "labels": rng.integers(0, CLASSES, (tasks, IMAGES), np.int32),
        "order": rng.integers(0, IMAGES, (tasks, STEPS, BATCH), np.int32),
        "weights": weights,
        "averages": averages,
        "memory": memory,
    }


def distance(got, want, start):
    """Between two lists of arrays, as a share of the way to the second."""
    far, way = (
        np.sqrt(sum(np.sum((np.asarray(a, np.float64) - b) ** 2) for a, b in zip(*pair, strict=True)))
        for pair in ((got, want), (want, start))
    )
    return far / way


@pytest.mark.each_level
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("adam", [None, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("count", [1, 3], ids=["1 block", "3 blocks"])
def test_results(count, adam, graph):
    blocks = BLOCKS[:count]
    start = arguments(blocks, adam)
    options = {"learning_rate": 0.05, "adam": adam}
    run = tf.function(fit_classifiers) if graph else fit_classifiers
    got = run(**start, blocks=blocks, **options)
    of_oracle = [(b.strides, b.pool_size, b.epsilon, b.momentum) for b in blocks]
    for task in range(TASKS):
        of_task = {name: start[name][task] for name in ("images", "labels", "order")}
        common = {name: start[name] for name in ("weights", "averages", "memory")}
        want = oracles.fit(**of_task, **common, blocks=of_oracle, **options)
        for name in ("weights", "averages", *(["memory"] if adam else [])):
            reached = [stacked[task] for stacked in getattr(got, name)]
            assert distance(reached, getattr(want, name), start[name]) < 1e-4
        np.testing.assert_allclose(got.losses[task], want.losses, rtol=1e-4)
        np.testing.assert_allclose(got.logits[task], want.logits, rtol=1e-3, atol=1e-3)


@pytest.mark.each_level
def test_a_step_in_bfloat16_goes_nearly_the_same_way():
    start = arguments(filters=(16, 16, 16))
    start["order"] = start["order"][:, :1]
    rough = [block._replace(precision="bfloat16") for block in BLOCKS]
    exact, got = (fit_classifiers(**start, blocks=blocks, learning_rate=0.05) for blocks in (BLOCKS, rough))
    for task in range(TASKS):
        reached, want = ([stacked[task] for stacked in result.weights] for result in (got, exact))
        assert 1e-4 < distance(reached, want, start["weights"]) < 0.1


def test_tasks_are_independent():
    start = arguments()
    together = fit_classifiers(**start, blocks=BLOCKS, learning_rate=0.05)
    for task in range(TASKS):
        of_task = {name: start[name][task : task + 1] for name in ("images", "labels", "order")}
        alone = fit_classifiers(**{**start, **of_task}, blocks=BLOCKS, learning_rate=0.05)
        for one, all_tasks in zip(tf.nest.flatten(alone), tf.nest.flatten(together), strict=True):
            assert_bit_identical(one[0], all_tasks[task])


def test_no_tasks():
    start = arguments(adam=ADAM, tasks=0)
    result = fit_classifiers(**start, blocks=BLOCKS, learning_rate=0.05, adam=ADAM)
    for name in ("weights", "averages", "memory"):
        shapes = [stacked.shape for stacked in getattr(result, name)]
        assert shapes == [(0, *np.shape(array)) for array in start[name]]
    assert result.losses.shape == (0, STEPS)
    assert result.logits.shape == (0, BATCH, CLASSES)


def test_shapes_are_inferred():
    start = arguments(adam=ADAM)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, IMAGES, 13, 10, 2]),
            tf.TensorSpec([None, STEPS, BATCH], tf.int32),
        ]
    )
    def trace(images, order):
        others = {**start, "images": images, "order": order}
        result = fit_classifiers(**others, blocks=BLOCKS, learning_rate=0.05, adam=ADAM)
        for name in ("weights", "averages", "memory"):
            for stacked, array in zip(getattr(result, name), start[name], strict=True):
                assert tuple(stacked.shape) == (None, *np.shape(array))
        assert tuple(result.losses.shape) == (None, STEPS)
        assert tuple(result.logits.shape) == (None, BATCH, CLASSES)
        return result.losses

    trace.get_concrete_function()


def without(name, place):
    return lambda start: start[name].pop(place)


def changed(name, value):
    return lambda start: start.update({name: value})


def reshaped(name, place, *shape):
    return lambda start: start[name].__setitem__(place, np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            changed("images", np.ones((5, 9, 13, 10))),
            r"images must have 5 axes, received shape \[5, 9, 13, 10\]",
        ),
        (
            changed("labels", np.ones((5, 8), np.int32)),
            r"labels must have shape \[5, 9\], received shape \[5, 8\]",
        ),
        (changed("labels", np.full((5, 9), 3)), "labels must be from 0 to 2, received 3"),
        (changed("labels", np.full((5, 9), -1)), "labels must be from 0 to 2, received -1"),
        (changed("order", np.full((5, 3, 6), 9)), "order must be from 0 to 8, received 9"),
        (
            changed("order", np.ones((4, 3, 6), np.int32)),
            r"order must have shape \[5, steps, batch\] with at least one",
        ),
        (
            changed("order", np.ones((5, 0, 6), np.int32)),
            r"order must have shape .* received shape \[5, 0, 6\]",
        ),
        (without("weights", 0), "weights must hold 11 tensors, received 10"),
        (without("averages", 0), "averages must hold 6 tensors, received 5"),
        (without("memory", 0), "memory must hold 12 tensors, received 11"),
        (reshaped("weights", 3, 3, 3, 2, 8), r"block 1: kernel must have shape \[3, 3, 17, 8\]"),
        (reshaped("weights", 9, 4, 3), r"weights\[9\] must have shape \[32, 3\], received shape \[4, 3\]"),
        (reshaped("weights", 10, 1, 3), r"the last of the weights must have shape \[classes\]"),
        (reshaped("averages", 2, 9), r"averages\[2\] must have shape \[8\], received shape \[9\]"),
        (reshaped("memory", 1, 9), r"memory\[1\] must have shape \[17\], received shape \[9\]"),
        (reshaped("memory", 11, 1), r"memory\[11\] must have shape \[\], received shape \[1\]"),
    ],
)
def test_bad_tensors(spoil, message):
    start = arguments(adam=ADAM)
    spoil(start)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        fit_classifiers(**start, blocks=BLOCKS, learning_rate=0.05, adam=ADAM)


@pytest.mark.parametrize("name", ["labels", "order"])
def test_integers_only(name):
    start = arguments()
    start[name] = np.asarray(start[name], np.float32)
    with pytest.raises(ValueError, match=f"{name} must hold integers, received float32"):
        fit_classifiers(**start, blocks=BLOCKS, learning_rate=0.05)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"blocks": []}, tf.errors.InvalidArgumentError, "there must be a block, and a momentum for each"),
        ({"blocks": [FitBlock(strides=3)]}, ValueError, "strides must be 1 or 2, received strides=3"),
        ({"learning_rate": "fast"}, ValueError, "learning_rate"),
        ({"adam": AdamOptions(beta_2="x")}, ValueError, "beta_2"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        fit_classifiers(**arguments(), **{"blocks": BLOCKS, "learning_rate": 0.05, **options})
