# SPDX-License-Identifier: MIT
"""pairwise: empty, NaN and huge inputs, memory layouts, and bad arguments; every backend."""

import ml_dtypes
import numpy as np
import oracles
import pytest
from asserts import assert_bit_identical, gamma
from inputs import integers, normal, signs
from pairwise_cases import ALL, WEIGHTED, options_of


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


# The largest, 3e38, has a reciprocal that is flushed to 0.
@pytest.mark.parametrize("length", [1.3e-38, 1e-25, 1e25, 8.6e37, 1e38, 3e38])
def test_cosine_does_not_overflow_where_the_squares_do(backend, length):
    # float32 reaches from 1e-38 to 3e38: the squares are beyond it.
    x, y = signs(0, 3, 16) * np.float32(length), signs(1, 4, 16) * np.float32(length)
    error = np.abs(backend.pairwise(x, y, "cosine") - oracles.pairwise(x, y, "cosine"))
    assert np.all(error <= gamma(40))


@pytest.mark.parametrize("length", [1e20, 1e38, 3e38])
def test_the_gradient_of_cosine_is_finite_for_huge_rows(backend, length):
    x, y, grad = signs(0, 3, 16) * np.float32(length), signs(1, 4, 16), normal(2, 3, 4)
    dx, dy = backend.pairwise_grad(x, y, grad, "cosine")
    want_x, want_y = oracles.pairwise_grad(x, y, grad, "cosine")[:2]
    np.testing.assert_allclose(dy, want_y, rtol=0, atol=gamma(40) * np.abs(grad).sum())
    # What is below the smallest normal number may be flushed.
    np.testing.assert_allclose(dx, want_x, rtol=0, atol=2.0**-126 + gamma(40) * np.abs(want_x).max())


def test_numbers_below_the_normal_ones_count_as_zero(backend):
    x = np.float32([[1e-39, 0, 1e-42], [1, 2, 3]])
    np.testing.assert_array_equal(backend.pairwise(x, x, "cosine")[0], [1, 1])
    dx, _ = backend.pairwise_grad(x, x, np.ones((2, 2), np.float32), "cosine")
    np.testing.assert_array_equal(dx[0], [0, 0, 0])


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
def test_bad_arguments_are_rejected_with_one_message(backend, reject, args, options, match):
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

    with pytest.raises(ValueError, match=r"precision must be one of float32.*received precision='half'"):
        ops.pairwise(np.zeros((2, 2), np.float32), precision="half")
