# SPDX-License-Identifier: MIT
"""pairwise: exact on small integers at every awkward size, elsewhere within derived bounds; every backend."""

import ml_dtypes
import numpy as np
import oracles
import pytest
from asserts import assert_bit_identical, float32_exactly, gamma, pairwise_tolerance
from hypothesis import given
from hypothesis import strategies as st
from inputs import SIZES, integers, normal, signs

DISTANCES = ["sqeuclidean", "euclidean", "cosine", "manhattan"]
# The weighted metric has a bias and weights of either sign; integers, so that it too is exact.
WEIGHTED = "weighted_manhattan"
EXACT = ["sqeuclidean", "euclidean", "dot", "manhattan", WEIGHTED]
ALL = [
    *(pytest.param(metric, None, id=metric) for metric in [*DISTANCES, "dot", WEIGHTED]),
    pytest.param(WEIGHTED, "sigmoid", id="weighted_manhattan-sigmoid"),
]


def options_of(metric, dim, activation=None, weights=integers):
    """weights, bias and activation where the metric takes them."""
    if metric != WEIGHTED:
        return {}
    return {"weights": weights(99, dim), "bias": -3.0, "activation": activation}


def expected(x, y, metric, **options):
    """The oracle, rounded once.

    The root of an integer below 2^24 in float64, rounded to float32, is the correctly rounded float32 root:
    53 bits are more than 2 * 24 + 2. The other exact metrics do not round at all.
    """
    matrix = oracles.pairwise(x, y, metric, **options)
    return matrix.astype(np.float32) if metric == "euclidean" else float32_exactly(matrix)


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


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "manhattan"])
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


# Edges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "options", "value"),
    [
        ("sqeuclidean", {}, 0),
        ("euclidean", {}, 0),
        ("cosine", {}, 1),
        ("dot", {}, 0),
        ("manhattan", {}, 0),
        (WEIGHTED, {"bias": -3.0}, -3),
        (WEIGHTED, {"bias": 0.0, "activation": "sigmoid"}, 0.5),
    ],
)
def test_rows_without_columns_have_the_metric_of_empty_vectors(any_backend, metric, options, value):
    if metric == WEIGHTED:
        options = {**options, "weights": np.zeros(0, np.float32)}
    got = any_backend.pairwise(np.zeros((2, 0), np.float32), np.zeros((3, 0), np.float32), metric, **options)
    np.testing.assert_array_equal(got, np.full((2, 3), value, np.float32), strict=True)


@pytest.mark.parametrize(("metric", "activation"), ALL)
@pytest.mark.parametrize("spoilt", ["x", "y"])
def test_a_nan_row_spoils_its_row_and_nothing_else(any_backend, metric, activation, spoilt):
    x, y = normal(0, 8, 17), normal(1, 20, 17)
    options = options_of(metric, 17, activation, weights=normal)
    clean = any_backend.pairwise(x, y, metric, **options)
    assert not np.isnan(clean).any()
    if spoilt == "x":
        x[5, 11] = np.nan
        clean[5] = np.nan
    else:
        y[18, 16] = np.nan
        clean[:, 18] = np.nan
    np.testing.assert_array_equal(any_backend.pairwise(x, y, metric, **options), clean)


def test_a_zero_row_is_at_cosine_distance_one(any_backend):
    x = np.float32([[0, 0, 0], [1, 2, 2], [-0.0, 0, 0]])
    got = any_backend.pairwise(x, np.float32([[0, 0, 0], [2, 4, 4]]), "cosine")
    np.testing.assert_allclose(got, [[1, 1], [1, 0], [1, 1]], rtol=0, atol=gamma(14))
    np.testing.assert_array_equal(got[:, 0], [1, 1, 1])


@pytest.mark.parametrize("length", [1e-25, 1e25])
def test_cosine_does_not_overflow_where_the_squares_do(backend, length):
    # float32 reaches from 1e-38 to 3e38: the squares, 1e-50 and 1e50, are beyond it.
    x, y = signs(0, 3, 16) * np.float32(length), signs(1, 4, 16) * np.float32(length)
    error = np.abs(backend.pairwise(x, y, "cosine") - oracles.pairwise(x, y, "cosine"))
    assert np.all(error <= gamma(40))


@pytest.mark.parametrize(("bias", "value"), [(-200.0, 0.0), (200.0, 1.0)])
def test_the_sigmoid_saturates(any_backend, bias, value):
    x = integers(0, 5, 3)
    options = {"weights": np.ones(3, np.float32), "bias": bias, "activation": "sigmoid"}
    # At least 152 below or above zero: below the smallest normal number, or within 2^-25 of one.
    got = any_backend.pairwise(x, x, WEIGHTED, **options)
    np.testing.assert_allclose(got, np.full((5, 5), value), rtol=0, atol=2.0**-126)


def strided(x):
    return np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]


def fortran(x):
    return np.asfortranarray(x)


def reversed_view(x):
    return x[::-1, ::-1].copy()[::-1, ::-1]


def unaligned(x):
    buffer = np.zeros(x.nbytes + 1, np.uint8)
    view = buffer[1:].view(np.float32).reshape(x.shape)
    view[...] = x
    return view


def byte_swapped(x):
    return x.astype(x.dtype.newbyteorder())


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS = [strided, fortran, reversed_view, unaligned, byte_swapped, read_only]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(numpy_backend, layout):
    x, y = normal(0, 9, 17), normal(1, 7, 17)
    np.testing.assert_array_equal(layout(x), x)
    assert_bit_identical(numpy_backend.pairwise(layout(x), layout(y)), numpy_backend.pairwise(x, y))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_floats_are_cast_to_float32(any_backend, dtype):
    x, y = normal(0, 9, 17).astype(dtype), normal(1, 7, 17).astype(dtype)
    want = any_backend.pairwise(x.astype(np.float32), y.astype(np.float32))
    assert_bit_identical(any_backend.pairwise(x, y), want)


# Bad input ------------------------------------------------------------------------------------------

X, Y = np.zeros((4, 3), np.float32), np.zeros((5, 3), np.float32)
W = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("args", "options", "match"),
    [
        pytest.param((X, Y, "minkowski"), {}, "metric must be one of.*minkowski", id="unknown metric"),
        pytest.param((X, Y[:, :2]), {}, r"x and y must have.*\[4, 3\].*\[5, 2\]", id="columns differ"),
        # A result without elements, whose computation XLA leaves out.
        pytest.param(
            (X[:0], Y[:, :2]), {}, r"x and y must have.*\[0, 3\].*\[5, 2\]", id="empty, columns differ"
        ),
        pytest.param((X[0], Y), {}, "x must.*received", id="x is a vector"),
        pytest.param((X, Y[None]), {}, "y must.*received", id="y has three axes"),
        pytest.param((X, Y, WEIGHTED), {}, "weights.*received", id="weights missing"),
        pytest.param((X, Y, WEIGHTED), {"weights": W[:2]}, "weights.*3.*received.*2", id="weights too short"),
        pytest.param((X, Y, WEIGHTED), {"weights": W[None]}, "weights.*received", id="weights are a matrix"),
        pytest.param((X, Y, "dot"), {"weights": W}, "weights.*received.*dot", id="weights unused"),
        pytest.param(
            (X, Y, "dot"), {"activation": "sigmoid"}, "activation.*received.*dot", id="activation unused"
        ),
        pytest.param(
            (X, Y, WEIGHTED),
            {"weights": W, "activation": "tanh"},
            "activation.*sigmoid.*tanh",
            id="activation",
        ),
    ],
)
def test_bad_arguments_are_rejected_in_one_sentence(backend, reject, args, options, match):
    reject(backend, match, "pairwise", *args, **options)


@pytest.mark.parametrize("precision", ["tf32", "3xtf32", "bfloat16"])
def test_on_a_cpu_every_precision_is_exact(precision):
    import tensorflow as tf

    from fslcore import ops

    x = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    with tf.device("CPU:0"):
        got, want = ops.pairwise(x, precision=precision), ops.pairwise(x)
    np.testing.assert_array_equal(got, want)


def test_an_unknown_precision_is_rejected():
    from fslcore import ops

    with pytest.raises(ValueError, match=r"precision must be one of float32.*received 'half'"):
        ops.pairwise(np.zeros((2, 2), np.float32), precision="half")
