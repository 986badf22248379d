# SPDX-License-Identifier: MIT
"""Arguments of a step of Adam, its results in any mode, and bounds for them."""

import numpy as np
import oracles_adam as oracles
import tensorflow as tf
from asserts import TINY, UNIT, gamma
from inputs import normal

from fslcore import ops

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
