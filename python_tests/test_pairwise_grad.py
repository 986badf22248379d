# SPDX-License-Identifier: MIT
"""pairwise_grad: exact where the gradient is an integer, else against the analytic gradient in float64."""

import numpy as np
import oracles
import pairwise_cases
import pytest
from asserts import assert_bit_identical, assert_gradient_close, float32_exactly, gradient_magnitude
from inputs import SIZES, integers, normal
from pairwise_cases import ALL, DISTANCES, WEIGHTED

# Without a root, gradients of integers are integers.
EXACT = [metric for metric in pairwise_cases.EXACT if metric != "euclidean"]
# (rows of x, rows of y, dim): each size once in each place; the largest three are kept apart for speed.
TRIPLES = [*zip(SIZES[:-1], SIZES[4:-1] + SIZES[:4], SIZES[8:-1] + SIZES[:8], strict=True)]
TRIPLES += [(257, 9, 31), (8, 257, 33), (7, 15, 257)]


def options_of(metric, dim, activation=None, weights=integers):
    # Small weights under a sigmoid: a saturated one has no gradient to compare.
    return pairwise_cases.options_of(metric, dim, activation, weights, scale=1 / 8 if activation else 1.0)


def parts(gradient, metric):
    """dx, dy and, where the metric has them, dweights and dbias."""
    return tuple(gradient) if metric == WEIGHTED else tuple(gradient)[:2]


def assert_exact(got, want, metric):
    assert len(got) == len(parts(want, metric))
    for part, wanted in zip(got, parts(want, metric), strict=True):
        np.testing.assert_array_equal(np.float32(part), float32_exactly(wanted))
        assert isinstance(part, float) or part.dtype == np.float32  # dbias is a Python number in NumPy


@pytest.mark.each_level
@pytest.mark.parametrize("shape", TRIPLES, ids=str)
@pytest.mark.parametrize("metric", EXACT)
def test_every_size_is_exact(numpy_backend, metric, shape):
    # The largest sum is that of dweights: 257 * 9 * 8 * 16 < 2^19, so all are integers that float32 holds.
    rows, columns, dim = shape
    x, y, grad = integers(0, rows, dim), integers(1, columns, dim), integers(2, rows, columns)
    options = options_of(metric, dim)
    got = numpy_backend.pairwise_grad(x, y, grad, metric, **options)
    assert_exact(got, oracles.pairwise_grad(x, y, grad, metric, **options), metric)


@pytest.mark.parametrize("shape", [(5, 17, 7), (0, 3, 2), (3, 0, 2), (2, 3, 0)], ids=str)
@pytest.mark.parametrize("metric", EXACT)
def test_every_backend_is_exact(backend, metric, shape):
    rows, columns, dim = shape
    x, y, grad = integers(0, rows, dim), integers(1, columns, dim), integers(2, rows, columns)
    options = options_of(metric, dim)
    got = backend.pairwise_grad(x, y, grad, metric, **options)
    assert_exact(got, oracles.pairwise_grad(x, y, grad, metric, **options), metric)


def assert_close(got, want, magnitude, metric, roundings):
    for part, wanted, size in zip(got, parts(want, metric), parts(magnitude, metric), strict=True):
        assert_gradient_close(part, wanted, size, roundings)


@pytest.mark.each_level
@pytest.mark.parametrize(("metric", "activation"), ALL)
@pytest.mark.parametrize("shape", [(17, 33, 31), (65, 8, 16), (2, 257, 9)], ids=str)
def test_normal_rows_within_tolerance(numpy_backend, metric, activation, shape):
    rows, columns, dim = shape
    x, y, grad = normal(0, rows, dim), normal(1, columns, dim), normal(2, rows, columns)
    options = options_of(metric, dim, activation, weights=normal)
    want = oracles.pairwise_grad(x, y, grad, metric, **options)
    magnitude = gradient_magnitude(x, y, grad, metric, **options)
    # A sum over the other side's rows, of coefficients that themselves are sums over dim (a distance, or two
    # norms and a product for the cosine), and a few products; dweights and dbias are sums over all pairs.
    roundings = rows * columns + 3 * dim + 12 if metric == WEIGHTED else rows + columns + 3 * dim + 12
    assert_close(
        numpy_backend.pairwise_grad(x, y, grad, metric, **options), want, magnitude, metric, roundings
    )


@pytest.mark.parametrize(("metric", "activation"), ALL)
def test_every_backend_gives_the_same_bits(backend, numpy_backend, metric, activation):
    x, y, grad = normal(0, 7, 31), normal(1, 65, 31), normal(2, 7, 65)
    options = options_of(metric, 31, activation, weights=normal)
    got = backend.pairwise_grad(x, y, grad, metric, **options)
    want = numpy_backend.pairwise_grad(x, y, grad, metric, **options)
    for part, wanted in zip(got, want, strict=True):
        assert_bit_identical(np.float32(part), np.float32(wanted))


@pytest.mark.parametrize(("metric", "activation"), ALL)
def test_without_y_the_two_partial_gradients_are_those_of_x_and_x(backend, metric, activation):
    x, grad = normal(0, 9, 5), normal(1, 9, 9)
    options = options_of(metric, 5, activation, weights=normal)
    got = backend.pairwise_grad(x, None, grad, metric, **options)
    want = backend.pairwise_grad(x, x, grad, metric, **options)
    for part, wanted in zip(got, want, strict=True):
        assert_bit_identical(part, wanted)


@pytest.mark.parametrize("metric", DISTANCES)
def test_the_gradient_between_equal_rows_is_zero(backend, metric):
    # Rows of length 2, so that the cosine's normalised rows are exact.
    x = np.float32([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]])
    dx, dy = backend.pairwise_grad(x, x, np.eye(3, dtype=np.float32), metric)
    np.testing.assert_array_equal(dx, np.zeros((3, 4), np.float32), strict=True)
    np.testing.assert_array_equal(dy, np.zeros((3, 4), np.float32), strict=True)


def test_the_gradient_of_a_zero_row_is_zero_for_cosine(backend):
    x, y = np.float32([[0, 0], [3, 4]]), np.float32([[4, -3], [0, 0]])
    dx, dy = backend.pairwise_grad(x, y, np.ones((2, 2), np.float32), "cosine")
    # Only row 1 of x and row 0 of y, orthogonal and of length 5, depend on each other: -(y/5)/5, -(x/5)/5.
    np.testing.assert_allclose(dx, [[0, 0], [-4 / 25, 3 / 25]], rtol=1e-6, atol=0)
    np.testing.assert_allclose(dy, [[-3 / 25, -4 / 25], [0, 0]], rtol=1e-6, atol=0)


@pytest.mark.parametrize(("metric", "activation"), ALL)
def test_a_nan_row_reaches_its_own_gradient_and_no_other_of_its_side(backend, metric, activation):
    x, y, grad = normal(0, 8, 5), normal(1, 9, 5), normal(2, 8, 9)
    options = options_of(metric, 5, activation, weights=normal)
    x[3] = np.nan
    dx, dy, *_ = backend.pairwise_grad(x, y, grad, metric, **options)
    clean = np.delete(np.arange(8), 3)
    want, *_ = backend.pairwise_grad(x[clean], y, grad[clean], metric, **options)
    np.testing.assert_allclose(dx[clean], want, rtol=1e-4, atol=1e-4)
    if metric != "dot":  # whose gradient by x is made of y alone
        assert np.isnan(dx[3]).all()
    assert np.isnan(dy).all()


def test_a_zero_gradient_stays_zero(backend):
    x = normal(0, 7, 5)
    for part in backend.pairwise_grad(x, None, np.zeros((7, 7), np.float32), "euclidean"):
        assert not part.any()


def test_memory_layout_and_dtype_do_not_matter(numpy_backend):
    x, y, grad = normal(0, 9, 17), normal(1, 7, 17), normal(2, 9, 7)
    want = numpy_backend.pairwise_grad(x, y, grad, "euclidean")
    got = numpy_backend.pairwise_grad(
        np.asfortranarray(x), y.astype(np.float64), grad[::-1].copy()[::-1], "euclidean"
    )
    for part, wanted in zip(got, want, strict=True):
        assert_bit_identical(part, wanted)


@pytest.mark.parametrize(
    ("grad_shape", "options", "match"),
    [
        pytest.param((5, 4), {}, r"grad must.*\[4, 5\].*received.*\[5, 4\]", id="transposed"),
        pytest.param((1, 1), {}, r"grad must.*\[4, 5\].*received.*\[1, 1\]", id="too small"),
        pytest.param((4,), {}, "grad must.*received", id="vector"),
        pytest.param((4, 5), {"metric": "minkowski"}, "metric must be one of.*minkowski", id="metric"),
        pytest.param((4, 5), {"metric": WEIGHTED}, "weights.*received", id="weights"),
    ],
)
def test_bad_arguments_are_rejected_with_one_message(backend, reject, grad_shape, options, match):
    x, y, grad = np.zeros((4, 3), np.float32), np.zeros((5, 3), np.float32), np.zeros(grad_shape, np.float32)
    reject(backend, match, "pairwise_grad", x, y, grad, **options)
