# SPDX-License-Identifier: MIT
"""What the twins in plain TensorFlow do beyond the ops: any distances, second derivatives, little memory.

That `pairwise` and `mine_semihard` agree with the oracle is in test_gram.py and test_triplets.py.
"""

import functools
import math
import re

import numpy as np
import oracles
import pytest
import tensorflow as tf
from asserts import assert_gradient_close, decision_gap, float32_exactly, pairwise_tolerance
from inputs import integers, normal
from modes import MODES, name, with_gradient

from fslcore.ops import reference

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)

# 3 * 2 + 3 * 2 + 2 + 2 = 16 pairs: the mean of integers over a power of two is exact.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), [3, 3, 2, 2, 1])).astype(np.int32)


@functools.cache
def loss_and_gradient(mode, metric="sqeuclidean"):
    """A function of (x, labels, margin), traced and compiled once for all tests."""
    return mode(
        with_gradient(lambda x, labels, margin: reference.triplet_semihard(x, labels, margin, metric))
    )


def same_class(labels):
    return labels[:, None] == labels[None, :]


@in_every_mode
@pytest.mark.parametrize("margin", [7.0, 300.0])
def test_loss_and_gradient_are_exact_on_integers(mode, margin):
    x = integers(1, 11, 3)
    want = oracles.triplet_semihard(x, LABELS, margin)
    loss, grad = loss_and_gradient(mode)(x, LABELS, margin)
    assert float(loss) == want.loss > 0
    np.testing.assert_array_equal(grad, float32_exactly(want.grad), strict=True)


@in_every_mode
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_loss_and_gradient_of_normal_rows(mode, metric):
    x, labels = normal(5, 11, 8), LABELS
    tolerance = pairwise_tolerance(x, x, metric)[~np.eye(11, dtype=bool)].max()
    assert decision_gap(x, labels, 0.3, metric) > 2 * tolerance  # no rounding changes a triplet
    want = oracles.triplet_semihard(x, labels, 0.3, metric)
    loss, grad = loss_and_gradient(mode, metric)(x, labels, 0.3)
    assert abs(float(loss) - want.loss) <= 2 * tolerance
    # A row adds up at most 3 * 16 slopes of at most 2 |difference| / 16, each after some 4 * 8 roundings.
    magnitude = np.full_like(want.grad, 3 * 2 * np.abs(x).max())
    assert_gradient_close(grad, want.grad, magnitude, roundings=3 * 16 + 4 * 8)


@in_every_mode
def test_distances_of_the_caller(mode):
    distances = integers(2, 11, 11)  # neither symmetric nor positive, and full of ties
    pairs = oracles.positive_pairs(LABELS)
    loss, grad = 0.0, np.zeros((11, 11))
    for a, p in pairs:
        negatives = np.flatnonzero(LABELS[a] != LABELS)
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
    function = with_gradient(lambda d, same: reference.triplet_semihard_of_distances(d, same, 3.0))
    got_loss, got_grad = mode(function)(distances, same_class(LABELS))
    assert float(got_loss) == loss > 0
    np.testing.assert_array_equal(got_grad, float32_exactly(grad), strict=True)


NO_PAIRS = {
    "no samples": [],
    "one sample": [3],
    "one class": [2] * 11,
    "all different": range(11),
}


@in_every_mode
@pytest.mark.parametrize("labels", NO_PAIRS.values(), ids=NO_PAIRS.keys())
def test_a_batch_without_pairs_has_loss_zero_and_gradient_zero(mode, labels):
    labels = np.array(labels, np.int32)
    x = integers(0, len(labels), 3)
    loss, grad = loss_and_gradient(mode)(x, labels, 1.0)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


@in_every_mode
def test_a_nan_row_shows_in_the_loss_and_in_the_rows_it_is_compared_with(mode):
    x = integers(3, 11, 3)
    row, *others = np.flatnonzero(LABELS == 2)
    x[row] = np.nan
    loss, grad = loss_and_gradient(mode)(x, LABELS, 1000.0)
    assert math.isnan(float(loss))
    anchor, _, negative = oracles.mine_semihard(x, LABELS)
    # It is compared with its positives and, as an anchor, with a negative. Nobody chooses it as a negative.
    compared = {row, *others, *negative[anchor == row]}
    assert set(np.flatnonzero(np.isnan(grad).any(axis=1))) == compared
    assert row not in negative


def second_derivative(loss):
    """The Hessian of a scalar function of x, times a direction."""

    def product(x, direction):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = loss(x)
            gradient = inner.gradient(value, x)
        return outer.gradient(gradient, x, output_gradients=direction)

    return product


@pytest.mark.parametrize("mode", [MODES[0], MODES[1]], ids=name)
def test_second_derivative_of_pairwise(mode):
    x, direction = integers(0, 5, 3), integers(1, 5, 3)
    product = mode(second_derivative(lambda x: tf.reduce_sum(reference.pairwise(x))))
    # sum_ij |x_i - x_j|^2 is quadratic: its Hessian takes v to 4 (n v_i - sum_j v_j).
    want = 4 * (5 * direction - direction.sum(axis=0))
    np.testing.assert_array_equal(product(tf.constant(x), tf.constant(direction)), want)


@pytest.mark.parametrize("mode", [MODES[0], MODES[1]], ids=name)
def test_second_derivative_of_the_triplet_loss(mode):
    x, direction = integers(1, 11, 3), integers(2, 11, 3)
    product = mode(second_derivative(lambda x: reference.triplet_semihard(x, LABELS, 1e4)))
    want = np.zeros((11, 3))
    for a, p, n in zip(*oracles.mine_semihard(x, LABELS), strict=True):  # at this margin all are active
        towards, away = direction[a] - direction[p], direction[a] - direction[n]
        want[a] += 2 * (towards - away) / 16
        want[p] -= 2 * towards / 16
        want[n] += 2 * away / 16
    np.testing.assert_array_equal(product(tf.constant(x), tf.constant(direction)), float32_exactly(want))


def test_xla_holds_no_batch_cubed():
    function = tf.function(with_gradient(reference.triplet_semihard_of_distances), jit_compile=True)
    batch = 64
    arguments = tf.zeros([batch, batch]), tf.eye(batch, dtype=tf.bool)
    program = function.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    shapes = [[int(n) for n in shape.split(",")] for shape in re.findall(r"\w+\[([\d,]+)\]", program)]
    # Two indices for each of batch * (batch + 1) possible pairs are the most; batch^3 would be 32 times that.
    assert max(math.prod(shape) for shape in shapes) <= 2 * batch * (batch + 1)
