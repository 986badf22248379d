# SPDX-License-Identifier: MIT
"""mine_semihard and triplet_semihard: ties, batches with nothing to mine, NaN rows, both search paths."""

import numpy as np
import oracles
import pytest
from asserts import (
    assert_bit_identical,
    assert_gradient_close,
    assert_mined,
    decision_gap,
    float32_exactly,
    gamma,
    pairwise_tolerance,
)
from hypothesis import given
from hypothesis import strategies as st
from inputs import integers, normal, signs

METRICS = ["sqeuclidean", "euclidean", "cosine"]


def random_labels(seed, batch, classes):
    return np.random.default_rng(seed).integers(0, classes, batch).astype(np.int32)


def assert_mined_exactly(got, x, labels, metric):
    for part, wanted in zip(got, oracles.mine_semihard(x, labels, metric), strict=True):
        np.testing.assert_array_equal(part, wanted.astype(np.int32), strict=True)


# Mining ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch", [2, 7, 17, 65])
def test_mining_is_exact_on_integers_full_of_ties(any_backend, metric, batch):
    # 65 rows of four signs are 16 different points: nearly every distance is tied with others.
    x = signs(batch, batch, 4)
    labels = random_labels(1, batch, 5)
    assert_mined_exactly(any_backend.mine_semihard(x, labels, metric), x, labels, metric)


@pytest.mark.each_level
@pytest.mark.parametrize("dim", [0, 1, 3, 16, 33])
@pytest.mark.parametrize("batch", [0, 1, 2, 8, 9, 16, 31, 64, 97, 257])
def test_mining_is_exact_at_every_size(numpy_backend, batch, dim):
    x, labels = integers(0, batch, dim), random_labels(1, batch, max(1, batch // 3))
    assert_mined_exactly(numpy_backend.mine_semihard(x, labels), x, labels, "sqeuclidean")


# Up to 96 positives an anchor's row is scanned for four at a time; beyond, it is sorted into the gaps between
# them.
@pytest.mark.each_level
@pytest.mark.parametrize(
    "sizes", [(96, 97, 98, 99), (300, 40), (258, 2), (257, 1), (130, 97, 6, 5, 4, 1)], ids=str
)
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
def test_mining_is_exact_with_many_positives(numpy_backend, sizes, metric):
    # In three columns ties abound.
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    x = integers(1, sum(sizes), 3)
    assert_mined_exactly(numpy_backend.mine_semihard(x, labels, metric), x, labels, metric)


@pytest.mark.each_level
@pytest.mark.parametrize("outlier", [0.0, 2.0**11, 2.0**70])
def test_mining_is_exact_with_many_positives_on_very_different_scales(numpy_backend, outlier):
    # One far row in each class; at 2^70 infinitely far. All other distances are at most 16^2 beside it.
    x, labels = np.zeros((240, 1), np.float32), np.arange(240) % 2
    x[:, 0] = np.random.default_rng(2).integers(-8, 9, 240)
    x[100:102] = outlier
    assert_mined_exactly(numpy_backend.mine_semihard(x, labels), x, labels, "sqeuclidean")


@pytest.mark.each_level
def test_mining_is_exact_where_many_positives_coincide(numpy_backend):
    x, labels = np.ones((300, 2), np.float32), np.arange(300) % 2
    x[::7] = 3
    assert_mined_exactly(numpy_backend.mine_semihard(x, labels), x, labels, "sqeuclidean")


@pytest.mark.each_level
@given(
    rows=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(-2, 2)), max_size=40),
    metric=st.sampled_from(["sqeuclidean", "euclidean"]),
)
def test_mining_any_small_batch_is_exact(rows, metric):
    from fslcore import kernels

    table = np.array(rows, np.int32).reshape(-1, 3)
    x, labels = table[:, :2].astype(np.float32), table[:, 2]
    assert_mined_exactly(kernels.mine_semihard(x, labels, metric), x, labels, metric)


@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_the_rows_permutes_the_triplets(seed):
    from fslcore import kernels

    # Normal rows have no ties, so that nothing but the numbering depends on the order.
    x, labels = normal(seed, 30, 4), random_labels(seed, 30, 6)
    order = np.random.default_rng(seed).permutation(30)
    want = set(zip(*(part.tolist() for part in kernels.mine_semihard(x, labels)), strict=True))
    got = zip(*(order[part].tolist() for part in kernels.mine_semihard(x[order], labels[order])), strict=True)
    assert set(got) == want


@pytest.mark.parametrize("metric", METRICS)
def test_mining_normal_rows_is_right_up_to_near_ties(any_backend, metric):
    x, labels = normal(3, 60, 24), random_labels(2, 60, 9)
    # The order of euclidean distances is that of their squares, on which backends select.
    on = "sqeuclidean" if metric == "euclidean" else metric
    got = any_backend.mine_semihard(x, labels, metric)
    assert_mined(got, labels, oracles.pairwise(x, metric=on), pairwise_tolerance(x, x, on))


@pytest.mark.each_level
def test_mining_rows_far_from_the_origin_is_exact(numpy_backend):
    # Distances of at most 300 beside squares of 1e10: the expanded form alone would pick at random.
    x = integers(0, 40, 3) + np.float32(65536)
    labels = random_labels(1, 40, 6)
    assert_mined_exactly(numpy_backend.mine_semihard(x, labels), x, labels, "sqeuclidean")


@pytest.mark.each_level
def test_mining_distances_up_to_infinity(numpy_backend):
    # Squares of 2^108 to 2^120; the row at 2^70, alone in its class, is infinitely far from all others.
    x = np.float32([[0], [1], [2.0**54], [2.0**60], [2.0**70], [2.0**55], [3]])
    labels = np.array([0, 0, 1, 1, 3, 0, 2])
    assert_mined_exactly(numpy_backend.mine_semihard(x, labels), x, labels, "sqeuclidean")


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param([], id="empty batch"),
        pytest.param([4], id="one row"),
        pytest.param([4, 4, 4, 4], id="one class"),
        pytest.param([1, 2, 3, 4], id="no positives"),
    ],
)
@pytest.mark.parametrize("dim", [0, 3])
def test_nothing_to_mine_is_loss_zero_and_gradient_zero(backend, labels, dim):
    x, labels = integers(0, len(labels), dim), np.array(labels, np.int32)
    for part in backend.mine_semihard(x, labels):
        np.testing.assert_array_equal(part, np.zeros(0, np.int32), strict=True)
    loss, grad, num_pairs = backend.triplet_semihard(x, labels)
    assert (float(loss), int(num_pairs)) == (0.0, 0)
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


LABEL_FORMS = {
    "int64": lambda labels: labels.astype(np.int64),
    "negative": lambda labels: -labels - 5,
    "huge": lambda labels: labels.astype(np.int64) + 2**62,
    # Equal in their low 32 bits: labels must not be narrowed.
    "equal low halves": lambda labels: labels.astype(np.int64) << 32,
    "extremes": lambda labels: np.array([-(2**63), -1, 0, 2**63 - 1])[labels],
}


@pytest.mark.parametrize("form", LABEL_FORMS)
def test_label_values_and_width_do_not_matter(backend, form):
    x, labels = integers(0, 12, 3), random_labels(1, 12, 4)
    relabelled = LABEL_FORMS[form](labels)
    assert_mined_exactly(backend.mine_semihard(x, relabelled), x, labels, "sqeuclidean")
    loss = backend.triplet_semihard(x, labels).loss
    assert_bit_identical(np.float32(backend.triplet_semihard(x, relabelled).loss), np.float32(loss))


# Loss -----------------------------------------------------------------------------------------------

# Class sizes whose number of ordered pairs is a power of two, so that the mean of integers is exact.
EXACT_CLASSES = {"8 pairs": [2, 3], "16 pairs": [3, 3, 2, 2, 1], "32 pairs": [2] * 16, "256 pairs": [2] * 128}


@pytest.mark.parametrize("margin", [7.0, 24.0, 300.0])
@pytest.mark.parametrize("sizes", EXACT_CLASSES)
def test_loss_and_gradient_are_exact_on_integers(backend, sizes, margin):
    counts = EXACT_CLASSES[sizes]
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    x = integers(1, len(labels), 3)
    want = oracles.triplet_semihard(x, labels, margin)
    loss, grad, num_pairs = backend.triplet_semihard(x, labels, margin)
    assert int(num_pairs) == want.num_pairs == sum(c * (c - 1) for c in counts)
    assert float(loss) == want.loss > 0
    np.testing.assert_array_equal(grad, float32_exactly(want.grad), strict=True)


@pytest.mark.each_level
@pytest.mark.parametrize("sizes", [(514, 9), (120, 97, 1), (30, 20, 10, 1)], ids=str)
def test_loss_with_many_positives(numpy_backend, sizes):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    x = integers(1, sum(sizes), 3)
    want = oracles.triplet_semihard(x, labels, 24.0)
    got = numpy_backend.triplet_semihard(x, labels, 24.0)
    # The terms are integers and their sum is exact; the mean rounds a quotient, or a factor and a product.
    assert got.num_pairs == want.num_pairs
    np.testing.assert_allclose(got.loss, want.loss, rtol=gamma(2), atol=0)
    # 1 / P is rounded before a row's coefficients, at most 3 * max(sizes) of them, are added up.
    magnitude = np.full_like(want.grad, 3 * max(sizes) * 2 * 16 / want.num_pairs)
    assert_gradient_close(got.grad, want.grad, magnitude, roundings=3 * max(sizes) + 3)


def largest_tolerance(x, metric):
    """That of any two different rows."""
    return pairwise_tolerance(x, x, metric)[~np.eye(len(x), dtype=bool)].max()


def separated(metric, margin):
    """Normal rows on which no rounding can change a negative or a hinge's side."""
    for seed in range(1000):
        x, labels = normal(seed, 14, 8), random_labels(seed, 14, 4)
        if decision_gap(x, labels, margin, metric) > 4 * largest_tolerance(x, metric):
            return x, labels
    raise AssertionError("no such data among 1000 seeds")


@pytest.mark.parametrize("metric", METRICS)
def test_loss_and_gradient_of_normal_rows(backend, metric):
    x, labels = separated(metric, 0.3)
    want = oracles.triplet_semihard(x, labels, 0.3, metric)
    got = backend.triplet_semihard(x, labels, 0.3, metric)
    assert int(got.num_pairs) == want.num_pairs
    assert abs(float(got.loss) - want.loss) <= 2 * largest_tolerance(x, metric)
    # Each row of the gradient adds up at most 3 * 14 edges of slope at most 2 * |difference| / P.
    roundings = 3 * 14 + 3 * 8 + 12
    slopes = 3 * 14 * 2 * np.abs(x).max() / want.num_pairs
    assert_gradient_close(got.grad, want.grad, np.full_like(want.grad, slopes), roundings)


@pytest.mark.parametrize("metric", METRICS)
def test_gradient_agrees_with_finite_differences_of_the_loss(backend, metric):
    x, labels = separated(metric, 0.3)
    grad = backend.triplet_semihard(x, labels, 0.3, metric).grad
    step = decision_gap(x, labels, 0.3, metric) / 1e3  # far from any kink
    point = x.astype(np.float64)
    for i, d in [(0, 0), (3, 5), (13, 7), (8, 2), (5, 1)]:
        ahead, behind = point.copy(), point.copy()
        ahead[i, d] += step
        behind[i, d] -= step
        losses = [oracles.triplet_semihard(moved, labels, 0.3, metric).loss for moved in (ahead, behind)]
        # Central differences err by step^2 and by 1e-16 / step, float32 by 1e-6 of terms of size 1.
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(grad[i, d], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_every_backend_gives_the_same_bits(backend, numpy_backend, metric):
    x, labels = normal(0, 50, 33), random_labels(0, 50, 7)
    got, want = (
        backend.triplet_semihard(x, labels, metric=metric),
        numpy_backend.triplet_semihard(x, labels, metric=metric),
    )
    assert_bit_identical(np.float32(got.loss), np.float32(want.loss))
    assert_bit_identical(got.grad, want.grad)


def test_coinciding_rows_have_gradient_zero_for_euclidean(backend):
    x, labels = np.ones((6, 3), np.float32), np.array([0, 0, 1, 1, 2, 2])
    loss, grad, num_pairs = backend.triplet_semihard(x, labels, 0.5, "euclidean")
    assert (float(loss), int(num_pairs)) == (0.5, 6)
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


def test_satisfied_triplets_have_loss_zero_and_gradient_zero(backend):
    x = np.float32([[0], [1], [10], [11]])
    loss, grad, num_pairs = backend.triplet_semihard(x, np.array([0, 0, 1, 1]), 1.0)
    assert (float(loss), int(num_pairs)) == (0.0, 4)
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


def test_the_pure_tensorflow_twin_has_the_same_loss():
    from conftest import Backend

    x, labels = separated("sqeuclidean", 0.3)
    want = oracles.triplet_semihard(x, labels, 0.3).loss
    got = Backend("reference").triplet_semihard(x, labels, 0.3)
    assert abs(float(got) - want) <= 2 * largest_tolerance(x, "sqeuclidean")


# Edges ----------------------------------------------------------------------------------------------


@pytest.mark.each_level
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch", [12, 330], ids=["scanned", "sorted"])
def test_a_nan_row_is_chosen_only_where_nothing_else_is_left(numpy_backend, metric, batch):
    x = signs(0, batch, 4)
    labels = np.where(np.arange(batch) % 12 < 10, 0, random_labels(1, batch, 3) + 1)
    x[4], x[11] = np.nan, np.nan  # a row of the large class and one of a small class
    got = numpy_backend.mine_semihard(x, labels, metric)
    assert_mined_exactly(got, x, labels, metric)


@pytest.mark.parametrize("metric", METRICS)
def test_a_nan_row_spoils_the_loss_and_the_pair_it_is_in(backend, metric):
    x, labels = normal(0, 10, 4), np.repeat(np.arange(5), 2)
    x[3] = np.nan  # its pair is row 2
    anchor, _, negative = backend.mine_semihard(x, labels, metric)
    in_a_triplet_with_it = [2, 3, *negative[np.isin(anchor, [2, 3])]]
    loss, grad, num_pairs = backend.triplet_semihard(x, labels, 0.5, metric)
    assert np.isnan(float(loss))
    assert int(num_pairs) == 10
    assert np.isnan(grad[[2, 3]]).all()
    assert np.isfinite(np.delete(grad, in_a_triplet_with_it, axis=0)).all()


def test_a_batch_of_nan_rows_mines_the_first_row_of_another_class(backend):
    x, labels = np.full((6, 3), np.nan, np.float32), np.array([5, 5, 5, 2, 2, 2])
    a, p, n = backend.mine_semihard(x, labels)
    assert list(zip(a.tolist(), p.tolist(), strict=True)) == oracles.positive_pairs(labels)
    np.testing.assert_array_equal(n, np.repeat([3, 0], 6))
    assert np.isnan(float(backend.triplet_semihard(x, labels).loss))


@pytest.mark.parametrize("metric", METRICS)
def test_memory_layout_and_dtype_do_not_matter(numpy_backend, metric):
    x, labels = normal(0, 30, 12), random_labels(0, 30, 5)
    want = numpy_backend.triplet_semihard(x, labels, metric=metric)
    got = numpy_backend.triplet_semihard(
        np.asfortranarray(x).astype(np.float64), np.repeat(labels, 2)[::2], metric=metric
    )
    assert_bit_identical(got.grad, want.grad)
    assert_bit_identical(np.float32(got.loss), np.float32(want.loss))


X, LABELS = np.zeros((4, 3), np.float32), np.array([0, 0, 1, 1])


@pytest.mark.parametrize("function", ["mine_semihard", "triplet_semihard"])
@pytest.mark.parametrize(
    ("args", "options", "match"),
    [
        pytest.param((X, LABELS[:3]), {}, "labels must.*4.*received.*3", id="labels too few"),
        pytest.param((X, LABELS[:, None]), {}, "labels must.*received", id="labels are a matrix"),
        pytest.param((X[0], LABELS), {}, "x must.*received", id="x is a vector"),
        pytest.param(
            (X, LABELS), {"metric": "minkowski"}, "metric must be one of.*minkowski", id="unknown metric"
        ),
        pytest.param(
            (X, LABELS), {"metric": "dot"}, "metric must be one of.*received.*dot", id="no distance"
        ),
    ],
)
def test_bad_arguments_are_rejected_in_one_sentence(backend, reject, function, args, options, match):
    reject(backend, match, function, *args, **options)


@pytest.mark.parametrize("function", ["mine_semihard", "triplet_semihard"])
def test_labels_that_are_no_integers_are_rejected(backend, function):
    with pytest.raises((*backend.errors, TypeError), match="labels"):
        getattr(backend, function)(X, LABELS + 0.5)
