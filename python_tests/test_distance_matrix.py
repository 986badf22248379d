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
from mining import EIGHT_ANCHORS, MINING, SIXTEEN_PAIRS
from routes import MODES, name, with_gradient

from fslcore import distance_matrix

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)


def same_class(labels):
    return labels[:, None] == labels[None, :]


@in_every_mode
def test_distances_of_the_caller(mode):
    distances = integers(2, 11, 11)  # neither symmetric nor positive, and full of ties
    pairs = oracles.positive_pairs(SIXTEEN_PAIRS)
    loss, grad = 0.0, np.zeros((11, 11))
    for a, p in pairs:
        negatives = np.flatnonzero(SIXTEEN_PAIRS[a] != SIXTEEN_PAIRS)
        beyond = negatives[distances[a, negatives] > distances[a, p]]
        n = (
            beyond[np.argmin(distances[a, beyond])]
            if len(beyond)
            else negatives[np.argmax(distances[a, negatives])]
        )
        if distances[a, p] - distances[a, n] + 3 > 0:
            loss += (distances[a, p] - distances[a, n] + 3) / len(pairs)
            grad[a, p] += 1 / len(pairs)
            grad[a, n] -= 1 / len(pairs)
    function = with_gradient(lambda d, same: distance_matrix.triplet_semihard_of_distances(d, same, 3.0))
    got_loss, got_grad = mode(function)(distances, same_class(SIXTEEN_PAIRS))
    assert float(got_loss) == loss > 0
    np.testing.assert_array_equal(got_grad, float32_exactly(grad), strict=True)


@in_every_mode
def test_the_hardest_of_distances_of_the_caller(mode):
    distances = integers(2, 11, 11)  # neither symmetric nor positive, and full of ties
    loss, grad = 0.0, np.zeros((11, 11))
    for a in range(11):
        positives = np.setdiff1d(np.flatnonzero(EIGHT_ANCHORS[a] == EIGHT_ANCHORS), [a])
        negatives = np.flatnonzero(EIGHT_ANCHORS[a] != EIGHT_ANCHORS)
        if len(positives):
            p = positives[np.argmax(distances[a, positives])]
            n = negatives[np.argmin(distances[a, negatives])]
            if distances[a, p] - distances[a, n] + 3 > 0:
                loss += (distances[a, p] - distances[a, n] + 3) / 8
                grad[a, p] += 1 / 8
                grad[a, n] -= 1 / 8
    function = with_gradient(lambda d, same: distance_matrix.triplet_hard_of_distances(d, same, 3.0))
    got_loss, got_grad = mode(function)(distances, same_class(EIGHT_ANCHORS))
    assert float(got_loss) == loss > 0
    np.testing.assert_array_equal(got_grad, float32_exactly(grad), strict=True)


@pytest.mark.parametrize("mining", MINING)
def test_xla_holds_no_batch_cubed(mining):
    loss = getattr(distance_matrix, f"triplet_{mining}_of_distances")
    function = tf.function(with_gradient(loss), jit_compile=True)
    batch = 64
    arguments = tf.zeros([batch, batch]), tf.eye(batch, dtype=tf.bool)
    program = function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    shapes = [[int(n) for n in shape.split(",")] for shape in re.findall(r"\w+\[([\d,]+)\]", program)]
    # Two indices for each of batch * (batch + 1) possible pairs are the most; batch^3 would be 32 times that.
    assert max(math.prod(shape) for shape in shapes) <= 2 * batch * (batch + 1)
