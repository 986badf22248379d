# SPDX-License-Identifier: MIT
"""nearest: exact on small integers at every awkward size, the same for any company and number of threads."""

import numpy as np
import oracles
import oracles_search
import pytest
from asserts import assert_bit_identical, float32_exactly, gamma, pairwise_tolerance
from hypothesis import given
from hypothesis import strategies as st
from inputs import integers, normal, signs
from routes import MODES, name

from fslcore import kernels
from fslcore.arguments import SEARCH_METRICS

EXACT = [metric for metric in SEARCH_METRICS if metric != "cosine"]
# One query, a few, more than a panel of any level, more than are searched together.
QUERIES = (0, 1, 3, 8, 9, 17, 65)
each_metric = pytest.mark.parametrize("metric", SEARCH_METRICS)
each_exact = pytest.mark.parametrize("metric", EXACT)


def assert_exactly(got, queries, rows, k, metric):
    assert_parts_exactly(got, oracles_search.nearest(queries, rows, k, metric), metric)


def assert_parts_exactly(got, wanted, metric):
    values, indices = wanted
    np.testing.assert_array_equal(got.indices, indices, strict=True)
    rounded = values.astype(np.float32) if metric == "euclidean" else float32_exactly(values)
    np.testing.assert_array_equal(got.values, rounded, strict=True)


# Exact inputs: many equal distances, so that the order of equals shows ----------------------------------


@pytest.mark.each_level
@pytest.mark.parametrize("dim", [0, 1, 7, 8, 16, 33, 64, 129, 257])
@each_exact
def test_every_size_is_exact(metric, dim):
    for count, rows in zip(QUERIES, (17, 200, 191, 6, 193, 1, 192), strict=True):
        x, y = integers(count, count, dim), integers(rows + 1, rows, dim)
        values, indices = oracles_search.nearest(x, y, rows, metric)
        for k in {1, min(rows, 10), rows}:
            assert_parts_exactly(kernels.nearest(x, y, k, metric), (values[:, :k], indices[:, :k]), metric)


@pytest.mark.each_level
@pytest.mark.parametrize("dim", [1, 4, 16, 64, 256])
def test_cosine_of_sign_rows_is_exact(dim):
    for count in QUERIES:
        x, y = signs(count, count, dim), signs(7, 203, dim)
        assert_exactly(kernels.nearest(x, y, 10, "cosine"), x, y, 10, "cosine")


@each_exact
@pytest.mark.parametrize("shape", [(7, 17, 33, 5), (1, 1, 1, 1), (0, 3, 2, 2), (2, 3, 0, 3)], ids=str)
def test_every_backend_is_exact(any_backend, metric, shape):
    if metric == "euclidean" and any_backend.name == "twin":
        metric = "sqeuclidean"  # the root of TensorFlow is not always rounded correctly
    count, rows, dim, k = shape
    x, y = integers(0, count, dim), integers(1, rows, dim)
    assert_exactly(any_backend.nearest(x, y, k, metric), x, y, k, metric)


@given(
    count=st.integers(0, 20),
    rows=st.integers(1, 250),
    dim=st.integers(0, 70),
    metric=st.sampled_from(EXACT),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_any_shape_is_exact(count, rows, dim, metric, seed, data):
    k = data.draw(st.integers(1, rows))
    x, y = integers(seed, count, dim), integers(seed + 1, rows, dim)
    assert_exactly(kernels.nearest(x, y, k, metric), x, y, k, metric)


# Random inputs ------------------------------------------------------------------------------------------


@pytest.mark.each_level
@each_metric
def test_normal_rows_within_tolerance(metric):
    for count in (1, 5, 40):
        x, y = normal(0, count, 31), normal(1, 3000, 31)
        got = kernels.nearest(x, y, 12, metric)
        tolerance = pairwise_tolerance(x, y, metric)
        matrix = oracles.pairwise(x, y, metric)
        own = np.take_along_axis(matrix, got.indices.astype(int), axis=1)
        allowed = np.take_along_axis(tolerance, got.indices.astype(int), axis=1)
        assert np.all(np.abs(got.values - own) <= allowed)
        # No row that was left out is nearer, but for rounding.
        worst, _ = oracles_search.nearest(x, y, 12, metric)
        assert np.all(np.abs(got.values - worst) <= tolerance.max())
        assert all(len(set(row)) == 12 for row in got.indices.tolist())


@each_metric
def test_near_rows_far_from_the_origin_keep_their_order(metric):
    # Products lose all digits of these distances: candidates must not be told apart by them alone.
    rng = np.random.default_rng(3)
    y = (1000 + rng.normal(size=(700, 24)) / 1024).astype(np.float32)
    x = y[:20] + np.float32(2**-14)
    for chosen in (x, x[:2]):
        got = kernels.nearest(chosen, y, 5, metric)
        matrix = oracles.pairwise(chosen, y, metric)
        if metric == "dot":
            error = gamma(24) * 24 * 1001**2
        elif metric == "cosine":
            error = gamma(2 * 24 + 8)
        else:
            error = np.abs(np.take_along_axis(matrix, got.indices.astype(int), 1)) * gamma(24 + 2)
        own = np.take_along_axis(matrix, got.indices.astype(int), 1)
        assert np.all(np.abs(got.values - own) <= error)
        if metric not in ("dot", "cosine"):
            np.testing.assert_array_equal(got.indices[:, 0], np.arange(len(chosen)))


@pytest.mark.each_level
@each_metric
def test_a_query_has_the_same_bits_alone_among_others_and_by_any_threads(metric, threads):
    x, y = normal(2, 1100, 20), normal(3, 2500, 20)
    y[700:720], y[2400] = y[:20], y[0]  # equal rows in other blocks
    threads(1)
    want = kernels.nearest(x, y, 9, metric)
    for count in (2, 3):
        threads(count)
        for got in (kernels.nearest(x, y, 9, metric), kernels.nearest(x[:3], y, 9, metric)):
            for part, wanted in zip(got, want, strict=True):
                assert_bit_identical(part, wanted[: len(part)])


@each_metric
def test_many_queries_of_few_rows(metric):
    x, y = normal(4, 8 * 1024 + 5, 6), normal(5, 37, 6)
    got = kernels.nearest(x, y, 3, metric)
    parts = [kernels.nearest(x[i : i + 1000], y, 3, metric) for i in range(0, len(x), 1000)]
    assert_bit_identical(got.values, np.concatenate([part.values for part in parts]))
    assert_bit_identical(got.indices, np.concatenate([part.indices for part in parts]))


# Edges --------------------------------------------------------------------------------------------------


@pytest.mark.each_level
@each_metric
def test_equal_rows_are_at_distance_zero_and_in_order(metric):
    y = np.repeat(normal(0, 1, 40), 500, axis=0)
    for x in (y[:1], y[:30]):
        values, indices = kernels.nearest(x, y, 500, metric)
        np.testing.assert_array_equal(indices, np.tile(np.arange(500, dtype=np.int32), (len(x), 1)))
        if metric != "dot":
            assert not values.any()


@pytest.mark.each_level
@each_metric
def test_nan_comes_last(metric):
    x, y = integers(0, 12, 5), integers(1, 230, 5)
    y[::3, 2] = np.nan
    x[4] = np.nan
    for chosen in (x, x[3:5]):
        values, indices = kernels.nearest(chosen, y, 230, metric)
        want, order = oracles_search.nearest(chosen, y, 230, metric)
        np.testing.assert_array_equal(np.isnan(values), np.isnan(want))
        if metric != "cosine":
            np.testing.assert_array_equal(indices, order)
        assert all(sorted(row) == list(range(230)) for row in indices.tolist())


@pytest.mark.each_level
@each_metric
def test_zero_huge_and_tiny_rows(metric):
    y = normal(6, 300, 9)
    y[::7] = 0
    y[1::7] *= np.float32(1e19)  # squares are infinite
    y[2::7] *= np.float32(1e-22)  # squares are below the normal numbers
    x = y[:28] * np.float32(1.0009765625)
    want = oracles.pairwise(x, y, metric)
    for chosen in (slice(0, 28), slice(0, 3)):
        got = kernels.nearest(x[chosen], y, 300, metric)
        few = kernels.nearest(x[chosen], y, 7, metric)
        assert_bit_identical(few.values, got.values[:, :7])
        assert_bit_identical(few.indices, got.indices[:, :7])
        own = np.take_along_axis(want[chosen], got.indices.astype(int), 1)
        lengths = np.abs(x[chosen]).astype(float) @ np.abs(y).T.astype(float) if metric == "dot" else 1.0
        size = np.take_along_axis(lengths, got.indices.astype(int), 1) if metric == "dot" else np.abs(own)
        bound = gamma(40) * (size + (metric == "cosine")) + 1e-18  # roots of what underflows are below 2^-60
        finite = size < (1e19 if metric == "euclidean" else 3e38)  # no square overflows, no partial sum
        assert np.all(np.abs(got.values - own)[finite] <= bound[finite])
        with np.errstate(invalid="ignore"):
            steps = np.diff(got.values) * (-1 if metric == "dot" else 1)
        assert not np.any(steps < 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k must be at least 1, received k=0"),
        ({"k": 2.0}, "k must be a whole number"),
        ({"k": 5}, r"k must be at most the number of rows \(4\), received 5"),
        ({"metric": "weighted_manhattan"}, "metric must be one of sqeuclidean, euclidean, cosine, dot"),
        (
            {"queries": np.zeros((2, 4))},
            r"same number of columns, received queries: \[2, 4\], rows: \[4, 3\]",
        ),
        ({"rows": np.zeros(3)}, r"rows must have "),
        ({"rows": np.zeros((0, 3))}, r"k must be at most the number of rows \(0\), received 1"),
    ],
    ids=["k=0", "k=2.0", "k=5", "metric", "columns", "axes", "no rows"],
)
def test_wrong_arguments(backend, changes, message):
    arguments = {"queries": np.zeros((2, 3)), "rows": np.zeros((4, 3)), "k": 1, "metric": "dot", **changes}
    with pytest.raises(backend.errors, match=message):
        backend.nearest(**arguments)


# TensorFlow ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [MODES[0], MODES[3]], ids=name)
@each_metric
def test_the_gradient(mode, metric):
    import tensorflow as tf

    from fslcore import ops

    x, y, upstream = normal(0, 6, 5), normal(1, 40, 5), normal(2, 6, 3)

    def gradients(queries, rows):
        with tf.GradientTape() as tape:
            tape.watch((queries, rows))
            score = tf.reduce_sum(ops.nearest(queries, rows, 3, metric).values * upstream)
        return [tf.convert_to_tensor(part) for part in tape.gradient(score, (queries, rows))]

    got = mode(gradients)(tf.constant(x), tf.constant(y))
    spread = np.zeros((6, 40))
    np.put_along_axis(spread, kernels.nearest(x, y, 3, metric).indices.astype(int), upstream, axis=1)
    want = oracles.pairwise_grad(x, y, spread, metric)
    np.testing.assert_allclose(got[0], want.x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], want.y, rtol=1e-4, atol=1e-5)


def test_rows_of_a_dynamic_size_inside_xla():
    import tensorflow as tf

    from fslcore import ops

    x, y = integers(0, 9, 4), integers(1, 50, 4)
    kept, asked = y[:, 0] > 0, x[:, 0] < 3

    @tf.function(jit_compile=True)
    def search(queries, rows):
        chosen = ops.nearest(tf.boolean_mask(queries, asked), tf.boolean_mask(rows, kept), 5)
        return tf.reduce_sum(chosen.values), tf.reduce_sum(chosen.indices), tf.shape(chosen.indices)[0]

    # Zeros stand behind the rows that are real, and would be among the nearest.
    values, indices = oracles_search.nearest(x[asked], y[kept], 5)
    got = [int(part) for part in search(tf.constant(x), tf.constant(y))]
    assert got == [values.sum(), indices.sum(), np.count_nonzero(asked)]
