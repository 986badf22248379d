# SPDX-License-Identifier: MIT
"""The twins of the triplet loss, and the second derivatives of the twins.

test_pairwise.py and test_triplets.py compare the twins of `pairwise` and of mining with the oracle;
test_twins_alone.py runs all twins without a compiled library.
"""

import functools
import math

import numpy as np
import oracles
import pytest
import tensorflow as tf
from asserts import assert_gradient_close, decision_gap, float32_exactly, pairwise_tolerance
from combinations import first_with_all
from inputs import integers, normal
from mining import MININGS, OF_POWERS_OF_TWO, SIXTEEN_PAIRS, mine, triplet_loss
from routes import MODES, name, with_gradient

from fslcore import twins

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)
in_each_mining = pytest.mark.parametrize("mining", MININGS)


@functools.cache
def loss_and_gradient(mode, mining, metric="sqeuclidean"):
    """A function of (x, labels, margin), traced and compiled once for all tests."""
    return mode(
        with_gradient(lambda x, labels, margin: triplet_loss(twins, mining, x, labels, margin, metric))
    )


@in_every_mode
@in_each_mining
@pytest.mark.parametrize("margin", [7.0, 300.0])
def test_loss_and_gradient_are_exact_on_integers(mode, mining, margin):
    x, labels = integers(1, 11, 3), OF_POWERS_OF_TWO[mining]
    want = triplet_loss(oracles, mining, x, labels, margin)
    loss, grad = loss_and_gradient(mode, mining)(x, labels, margin)
    assert float(loss) == want.loss > 0
    np.testing.assert_array_equal(grad, float32_exactly(want.grad), strict=True)


@pytest.mark.parametrize(
    ("mode", "mining", "metric"),
    first_with_all(MODES, MININGS, ("euclidean", "cosine")),
    ids=lambda value: name(value) if callable(value) else value,
)
def test_loss_and_gradient_of_normal_rows(mode, mining, metric):
    x, labels = normal(5, 11, 8), SIXTEEN_PAIRS
    tolerance = pairwise_tolerance(x, x, metric)[~np.eye(11, dtype=bool)].max()
    assert decision_gap(x, labels, 0.3, metric, mining) > 2 * tolerance  # no rounding changes a triplet
    want = triplet_loss(oracles, mining, x, labels, 0.3, metric)
    loss, grad = loss_and_gradient(mode, mining, metric)(x, labels, 0.3)
    assert abs(float(loss) - want.loss) <= 2 * tolerance
    # A row adds up at most 3 slopes of at most 2 |difference| / P for each of P triplets, at most 16, each
    # after some 4 * 8 roundings.
    magnitude = np.full_like(want.grad, 3 * 2 * np.abs(x).max())
    assert_gradient_close(grad, want.grad, magnitude, roundings=3 * 16 + 4 * 8)


NO_PAIRS = {
    "no samples": [],
    "one sample": [3],
    "one class": [2] * 11,
    "all different": range(11),
}


@in_every_mode
@in_each_mining
@pytest.mark.parametrize("labels", NO_PAIRS.values(), ids=NO_PAIRS.keys())
def test_a_batch_without_pairs_has_loss_zero_and_gradient_zero(mode, mining, labels):
    labels = np.array(labels, np.int32)
    x = integers(0, len(labels), 3)
    loss, grad = loss_and_gradient(mode, mining)(x, labels, 1.0)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


@in_every_mode
@in_each_mining
def test_a_nan_row_shows_in_the_loss_and_in_the_rows_it_is_compared_with(mode, mining):
    x = integers(3, 11, 3)
    row, *others = np.flatnonzero(SIXTEEN_PAIRS == 2)
    x[row] = np.nan
    loss, grad = loss_and_gradient(mode, mining)(x, SIXTEEN_PAIRS, 1000.0)
    assert math.isnan(float(loss))
    anchor, _, negative = mine(oracles, mining, x, SIXTEEN_PAIRS)
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
    product = mode(second_derivative(lambda x: tf.reduce_sum(twins.pairwise(x))))
    # sum_ij |x_i - x_j|^2 is quadratic: its Hessian takes v to 4 (n v_i - sum_j v_j).
    want = 4 * (5 * direction - direction.sum(axis=0))
    np.testing.assert_array_equal(product(tf.constant(x), tf.constant(direction)), want)


@in_each_mining
@pytest.mark.parametrize("mode", [MODES[0], MODES[1]], ids=name)
def test_second_derivative_of_the_triplet_loss(mode, mining):
    x, direction, labels = integers(1, 11, 3), integers(2, 11, 3), OF_POWERS_OF_TWO[mining]
    product = mode(second_derivative(lambda x: triplet_loss(twins, mining, x, labels, 1e4)))
    want = np.zeros((11, 3))
    mined = mine(oracles, mining, x, labels)
    for a, p, n in zip(*mined, strict=True):  # at this margin all are active
        towards, away = direction[a] - direction[p], direction[a] - direction[n]
        want[a] += 2 * (towards - away) / len(mined.anchor)
        want[p] -= 2 * towards / len(mined.anchor)
        want[n] += 2 * away / len(mined.anchor)
    np.testing.assert_array_equal(product(tf.constant(x), tf.constant(direction)), float32_exactly(want))
