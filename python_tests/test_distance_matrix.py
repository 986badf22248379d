# SPDX-License-Identifier: MIT
"""Triplets of a matrix of distances that the caller computed."""

import math
import re

import numpy as np
import oracles
import pytest
import tensorflow as tf
from asserts import float32_exactly
from inputs import integers
from mining import MININGS, OF_POWERS_OF_TWO
from routes import MODES, name, with_gradient

from fslcore import distance_matrix

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)


def same_class(labels):
    return labels[:, None] == labels[None, :]


@in_every_mode
@pytest.mark.parametrize("mining", MININGS)
def test_distances_of_the_caller(mode, mining):
    distances = integers(2, 11, 11)  # neither symmetric nor positive, and full of ties
    labels = OF_POWERS_OF_TWO[mining]
    mined = oracles.mine_triplets_of_distances(distances, labels, mining)
    loss, grad, count = 0.0, np.zeros((11, 11)), len(mined.anchor)
    for a, p, n in zip(*mined, strict=True):
        if distances[a, p] - distances[a, n] + 3 > 0:
            loss += (distances[a, p] - distances[a, n] + 3) / count
            grad[a, p] += 1 / count
            grad[a, n] -= 1 / count
    function = with_gradient(lambda d, same: distance_matrix.triplet_loss_of_distances(d, same, mining, 3.0))
    got_loss, got_grad = mode(function)(distances, same_class(labels))
    assert float(got_loss) == loss > 0
    np.testing.assert_array_equal(got_grad, float32_exactly(grad), strict=True)


@pytest.mark.parametrize("mining", ["semihard", "hard"])
def test_the_functions_named_after_a_rule_are_the_same(mining):
    distances, same = integers(2, 11, 11), same_class(OF_POWERS_OF_TWO[mining])
    named = getattr(distance_matrix, f"triplet_{mining}_of_distances")(distances, same, 3.0)
    assert float(named) == float(distance_matrix.triplet_loss_of_distances(distances, same, mining, 3.0))


@pytest.mark.parametrize("mining", MININGS)
def test_xla_holds_no_batch_cubed(mining):
    def loss(distances, same):
        return distance_matrix.triplet_loss_of_distances(distances, same, mining)

    function = tf.function(with_gradient(loss), jit_compile=True)
    batch = 64
    arguments = tf.zeros([batch, batch]), tf.eye(batch, dtype=tf.bool)
    program = function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    shapes = [[int(n) for n in shape.split(",")] for shape in re.findall(r"\w+\[([\d,]+)\]", program)]
    # Two indices for each of batch * (batch + 1) possible pairs are the most; batch^3 would be 32 times that.
    assert max(math.prod(shape) for shape in shapes) <= 2 * batch * (batch + 1)
