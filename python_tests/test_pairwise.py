# SPDX-License-Identifier: MIT
"""pairwise: exact on small integers at every awkward size, elsewhere within derived bounds; every backend.

Edges, layouts and bad arguments are in test_pairwise_edges.py.
"""

import numpy as np
import oracles
import pytest
from asserts import assert_bit_identical, float32_exactly, gamma, pairwise_tolerance
from hypothesis import given
from hypothesis import strategies as st
from inputs import SIZES, integers, normal, signs
from pairwise_cases import ALL, DISTANCES, EXACT, expected, options_of

# Exact inputs ---------------------------------------------------------------------------------------


@pytest.mark.each_level
@pytest.mark.parametrize("dim", SIZES)
@pytest.mark.parametrize("metric", EXACT)
def test_every_size_is_exact(numpy_backend, metric, dim):
    options = options_of(metric, dim)
    for rows, columns in zip(SIZES, SIZES[5:] + SIZES[:5], strict=True):
        x, y = integers(rows, rows, dim), integers(columns + 1, columns, dim)
        got = numpy_backend.pairwise(x, y, metric, **options)
        np.testing.assert_array_equal(got, expected(x, y, metric, **options), strict=True)


@pytest.mark.each_level
@pytest.mark.parametrize("dim", [1, 4, 16, 64, 256])
def test_cosine_of_sign_rows_is_exact(numpy_backend, dim):
    for rows, columns in zip(SIZES, SIZES[5:] + SIZES[:5], strict=True):
        x, y = signs(rows, rows, dim), signs(columns + 1, columns, dim)
        # Lengths are powers of two, and dot products integers of the parity of dim below 2^9.
        np.testing.assert_array_equal(
            numpy_backend.pairwise(x, y, "cosine"),
            float32_exactly(oracles.pairwise(x, y, "cosine")),
            strict=True,
        )


@pytest.mark.parametrize("metric", [m for m in EXACT if m != "euclidean"])
@pytest.mark.parametrize("shape", [(7, 17, 33), (1, 1, 1), (0, 3, 2), (3, 0, 2), (2, 3, 0)], ids=str)
def test_every_backend_is_exact(any_backend, metric, shape):
    rows, columns, dim = shape
    x, y, options = integers(0, rows, dim), integers(1, columns, dim), options_of(metric, dim)
    got = any_backend.pairwise(x, y, metric, **options)
    np.testing.assert_array_equal(got, expected(x, y, metric, **options), strict=True)


def test_euclidean_through_every_native_binding_is_correctly_rounded(backend):
    x, y = integers(0, 7, 33), integers(1, 17, 33)
    np.testing.assert_array_equal(
        backend.pairwise(x, y, "euclidean"), expected(x, y, "euclidean"), strict=True
    )


def test_cosine_of_sign_rows_is_exact_everywhere(any_backend):
    x, y = signs(0, 5, 16), signs(1, 6, 16)
    got = any_backend.pairwise(x, y, "cosine")
    np.testing.assert_array_equal(got, float32_exactly(oracles.pairwise(x, y, "cosine")), strict=True)


@pytest.mark.each_level
@given(
    rows=st.integers(0, 40),
    columns=st.integers(0, 140),
    dim=st.integers(0, 70),
    metric=st.sampled_from(EXACT),
    seed=st.integers(0, 2**32 - 1),
    step=st.sampled_from([-2, -1, 1, 3]),
)
def test_any_shape_and_stride_is_exact(rows, columns, dim, metric, seed, step):
    from fslcore import kernels

    x = integers(seed, rows * abs(step), dim)[::step]
    y = integers(seed + 1, columns, dim * abs(step))[:, ::step]
    options = options_of(metric, dim)
    got = kernels.pairwise(x, y, metric, **options)
    np.testing.assert_array_equal(got, expected(x, y, metric, **options), strict=True)


# Random inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "activation"), ALL)
def test_normal_rows_within_tolerance(any_backend, metric, activation):
    x, y = normal(0, 17, 31), normal(1, 65, 31)
    options = options_of(metric, 31, activation, weights=normal)
    got = any_backend.pairwise(x, y, metric, **options)
    error = np.abs(got - oracles.pairwise(x, y, metric, **options))
    assert np.all(error <= pairwise_tolerance(x, y, metric, **options))


@pytest.mark.each_level
@pytest.mark.parametrize(("metric", "activation"), ALL)
def test_every_size_within_tolerance(numpy_backend, metric, activation):
    for rows, dim in zip(SIZES, SIZES[3:] + SIZES[:3], strict=True):
        x, y = normal(rows, rows, dim), normal(rows + 1, 65, dim)
        options = options_of(metric, dim, activation, weights=normal)
        got = numpy_backend.pairwise(x, y, metric, **options)
        error = np.abs(got - oracles.pairwise(x, y, metric, **options))
        assert np.all(error <= pairwise_tolerance(x, y, metric, **options))


@pytest.mark.parametrize(("metric", "activation"), ALL)
def test_one_argument_is_the_matrix_of_x_with_itself(any_backend, metric, activation):
    x, options = normal(0, 9, 8), options_of(metric, 8, activation, weights=normal)
    got = any_backend.pairwise(x, metric=metric, **options)
    assert_bit_identical(got, any_backend.pairwise(x, x, metric, **options))
    # Whatever the order of summation, a pair of rows and its mirror image are the same sum.
    np.testing.assert_allclose(got, got.T, rtol=0, atol=pairwise_tolerance(x, x, metric, **options).max())


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e30])
@pytest.mark.parametrize("metric", DISTANCES)
def test_diagonal_is_exactly_zero(backend, metric, scale):
    x = (normal(0, 33, 65) + 100) * np.float32(scale)
    assert not np.diag(backend.pairwise(x, metric=metric)).any()


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
def test_squares_beyond_float32_are_infinite_and_not_nan(backend, metric):
    x = np.float32([[1e25, 0], [2e25, 0], [-1e25, 1], [np.inf, 0]])
    y = np.float32([[1e25, 0], [-1e25, 1], [1, 2]])
    inf = np.float32(np.inf)
    want = [[0, inf, inf], [inf, inf, inf], [inf, 0, inf], [inf, inf, inf]]
    np.testing.assert_array_equal(backend.pairwise(x, y, metric), want)


@pytest.mark.each_level
@pytest.mark.parametrize("metric", DISTANCES)
def test_duplicated_rows_are_at_distance_zero(numpy_backend, metric):
    x = normal(0, 70, 33) + 1000
    # Row i of y is row i of x; the columns fall into other tiles, since y has more rows.
    y = np.concatenate([x, x[::-1], x[:9]])
    matrix = numpy_backend.pairwise(x, y, metric)
    for i in range(70):
        assert (matrix[i, i], matrix[i, 139 - i]) == (0, 0)


@pytest.mark.parametrize("metric", [m for m in DISTANCES if m != "cosine"])
@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6])
def test_near_rows_far_from_the_origin_keep_their_digits(backend, metric, offset):
    # Steps of 1/8 are exact beside 1e6; |x|^2 + |y|^2 - 2 x.y alone would be off by 1e5 and more.
    x = np.float32(offset) + integers(0, 16, 9) / np.float32(8)
    y = np.float32(offset) + integers(1, 16, 9) / np.float32(8)
    want = oracles.pairwise(x, y, metric)
    # The header of the kernel promises 256 gamma(dim + 2) for the squares; the root halves it.
    np.testing.assert_allclose(backend.pairwise(x, y, metric), want, rtol=256 * gamma(11), atol=0)


def test_near_directions_keep_their_digits_in_cosine(backend):
    # Angles of 1e-3 to 2e-2: 1 - cos is 5e-7 to 2e-4, which 1 - (a rounded cos) knows to 6e-8 only.
    angle = np.linspace(1e-3, 2e-2, 20)
    x, y = np.float32([[3, 0]]), np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    want = oracles.pairwise(x, y, "cosine")
    # Normalised coordinates are off by gamma(4) at most, so the sine by gamma(4) / sin, twice that squared.
    tolerance = 4 * gamma(4) / np.sin(angle) + gamma(8)
    assert np.all(np.abs(backend.pairwise(x, y, "cosine") - want) <= tolerance * want)
