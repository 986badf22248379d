# SPDX-License-Identifier: MIT
"""triplet_loss by each rule of mining: loss and gradient, NaN rows, bad arguments."""

import numpy as np
import oracles
import pytest
from asserts import (
    assert_bit_identical,
    assert_gradient_close,
    decision_gap,
    float32_exactly,
    gamma,
    pairwise_tolerance,
)
from combinations import first_with_all
from inputs import integers, normal
from mining import METRICS, mine, of_rule, random_labels, shuffled_labels, triplet_loss
from routes import NATIVE, Backend

from fslcore.arguments import MININGS, PAIR_MININGS

in_each_mining = pytest.mark.parametrize("mining", MININGS)

# Class sizes whose number of triplets is a power of two, so that the mean of integers is exact.
EXACT_CLASSES = {
    mining: [
        *of_rule(mining, pairs=[(2, 3), (3, 3, 2, 2, 1)], anchors=[(2, 2), (6, 5, 3, 2, 1, 1)]),
        *[(2,) * 16, (2,) * 128, (2,) * 512],
    ]
    for mining in MININGS
}


def assert_exact(backend, mining, sizes, margin):
    labels = shuffled_labels(*sizes)
    x = integers(1, len(labels), 3)
    want = triplet_loss(oracles, mining, x, labels, margin)
    got = triplet_loss(backend, mining, x, labels, margin)
    assert int(got.num_pairs) == want.num_pairs
    assert float(got.loss) == want.loss > 0
    np.testing.assert_array_equal(got.grad, float32_exactly(want.grad), strict=True)
    return want.num_pairs


@pytest.mark.parametrize(
    ("backend", "case", "margin"),
    first_with_all(NATIVE, [(mining, i) for mining in MININGS for i in range(5)], (7.0, 24.0, 300.0)),
    indirect=["backend"],
    ids=str,
)
def test_loss_and_gradient_are_exact_on_integers(backend, case, margin):
    mining, number = case
    sizes = EXACT_CLASSES[mining][number]
    triplets = assert_exact(backend, mining, sizes, margin)
    assert triplets == sum(of_rule(mining, pairs=c * (c - 1), anchors=c) for c in sizes if c > 1)


@pytest.mark.each_level
@pytest.mark.parametrize("sizes", [(514, 9), (120, 97, 1), (30, 20, 10, 1)], ids=str)
def test_semihard_loss_with_many_positives(numpy_backend, sizes):
    labels = shuffled_labels(*sizes)
    x = integers(1, sum(sizes), 3)
    want = oracles.triplet_loss(x, labels, "semihard", 24.0)
    got = numpy_backend.triplet_semihard(x, labels, 24.0)
    # The terms are integers and their sum is exact; the mean rounds a quotient, or a factor and a product.
    assert got.num_pairs == want.num_pairs
    np.testing.assert_allclose(got.loss, want.loss, rtol=gamma(2), atol=0)
    # 1 / P is rounded before a row's coefficients, at most 3 * max(sizes) of them, are added up.
    magnitude = np.full_like(want.grad, 3 * max(sizes) * 2 * 16 / want.num_pairs)
    assert_gradient_close(got.grad, want.grad, magnitude, roundings=3 * max(sizes) + 3)


@pytest.mark.each_level
@pytest.mark.parametrize("mining", [mining for mining in MININGS if mining not in PAIR_MININGS])
@pytest.mark.parametrize("sizes", [(500, 12), (120, 97, 39, 1), (30, 20, 10, 4, 1)], ids=str)
def test_loss_of_anchors_with_many_positives(numpy_backend, mining, sizes):
    assert_exact(numpy_backend, mining, sizes, 24.0)


def largest_tolerance(x, metric):
    """That of any two different rows."""
    return pairwise_tolerance(x, x, metric)[~np.eye(len(x), dtype=bool)].max()


def separated(mining, metric, margin):
    """Normal rows on which no rounding can change a triplet or a hinge's side."""
    for seed in range(1000):
        x, labels = normal(seed, 14, 8), random_labels(seed, 14, 4)
        if decision_gap(x, labels, margin, metric, mining) > 4 * largest_tolerance(x, metric):
            return x, labels
    raise AssertionError("no such data among 1000 seeds")


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_loss_and_gradient_of_normal_rows(backend, mining, metric):
    x, labels = separated(mining, metric, 0.3)
    want = triplet_loss(oracles, mining, x, labels, 0.3, metric)
    got = triplet_loss(backend, mining, x, labels, 0.3, metric)
    assert int(got.num_pairs) == want.num_pairs
    assert abs(float(got.loss) - want.loss) <= 2 * largest_tolerance(x, metric)
    # Each row of the gradient adds up at most 3 * 14 edges of slope at most 2 * |difference| / P.
    roundings = 3 * 14 + 3 * 8 + 12
    slopes = 3 * 14 * 2 * np.abs(x).max() / want.num_pairs
    assert_gradient_close(got.grad, want.grad, np.full_like(want.grad, slopes), roundings)


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_gradient_agrees_with_finite_differences_of_the_loss(backend, mining, metric):
    x, labels = separated(mining, metric, 0.3)
    grad = triplet_loss(backend, mining, x, labels, 0.3, metric).grad
    step = decision_gap(x, labels, 0.3, metric, mining) / 1e3  # far from any kink
    point = x.astype(np.float64)
    for i, d in [(0, 0), (3, 5), (13, 7), (8, 2), (5, 1)]:
        ahead, behind = point.copy(), point.copy()
        ahead[i, d] += step
        behind[i, d] -= step
        losses = [triplet_loss(oracles, mining, moved, labels, 0.3, metric).loss for moved in (ahead, behind)]
        # Central differences err by step^2 and by 1e-16 / step, float32 by 1e-6 of terms of size 1.
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(grad[i, d], rel=1e-5, abs=1e-5)


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_every_backend_gives_the_same_bits(backend, numpy_backend, mining, metric):
    x, labels = normal(0, 50, 33), random_labels(0, 50, 7)
    got = triplet_loss(backend, mining, x, labels, 1.0, metric)
    want = triplet_loss(numpy_backend, mining, x, labels, 1.0, metric)
    assert_bit_identical(np.float32(got.loss), np.float32(want.loss))
    assert_bit_identical(got.grad, want.grad)


@in_each_mining
def test_coinciding_rows_have_gradient_zero_for_euclidean(backend, mining):
    x, labels = np.ones((6, 3), np.float32), np.array([0, 0, 1, 1, 2, 2])
    loss, grad, num_pairs = triplet_loss(backend, mining, x, labels, 0.5, "euclidean")
    assert (float(loss), int(num_pairs)) == (0.5, 6)
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


@in_each_mining
def test_satisfied_triplets_have_loss_zero_and_gradient_zero(backend, mining):
    x = np.float32([[0], [1], [10], [11]])
    loss, grad, num_pairs = triplet_loss(backend, mining, x, np.array([0, 0, 1, 1]), 1.0)
    assert (float(loss), int(num_pairs)) == (0.0, 4)
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


@in_each_mining
def test_the_pure_tensorflow_twin_has_the_same_loss(mining):
    x, labels = separated(mining, "sqeuclidean", 0.3)
    want = triplet_loss(oracles, mining, x, labels, 0.3).loss
    got = triplet_loss(Backend("twin"), mining, x, labels, 0.3)
    assert abs(float(got) - want) <= 2 * largest_tolerance(x, "sqeuclidean")


# Edges ----------------------------------------------------------------------------------------------


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_a_nan_row_spoils_the_loss_and_the_pair_it_is_in(backend, mining, metric):
    x, labels = normal(0, 10, 4), np.repeat(np.arange(5), 2)
    x[3] = np.nan  # its pair is row 2
    anchor, _, negative = mine(backend, mining, x, labels, metric)
    in_a_triplet_with_it = [2, 3, *negative[np.isin(anchor, [2, 3])]]
    loss, grad, num_pairs = triplet_loss(backend, mining, x, labels, 0.5, metric)
    assert np.isnan(float(loss))
    assert int(num_pairs) == 10
    assert np.isnan(grad[[2, 3]]).all()
    assert np.isfinite(np.delete(grad, in_a_triplet_with_it, axis=0)).all()


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_a_nan_row_in_no_triplet_has_no_gradient(backend, mining, metric):
    # Alone in its class, and a NaN is mined only if there is nothing else.
    x, labels = normal(0, 11, 4), np.array([*np.repeat(np.arange(5), 2), 5])
    want = triplet_loss(backend, mining, x[:10], labels[:10], 0.5, metric)
    x[10, 2] = np.nan
    negative = mine(backend, mining, x, labels, metric)[2]
    assert 10 not in negative
    loss, grad, num_pairs = triplet_loss(backend, mining, x, labels, 0.5, metric)
    assert int(num_pairs) == 10
    np.testing.assert_array_equal(grad[10], np.zeros(4))
    np.testing.assert_array_equal(loss, want.loss)
    np.testing.assert_array_equal(grad[:10], want.grad)


@pytest.mark.parametrize("mining", MININGS)
def test_the_loss_of_huge_rows_under_cosine(backend, mining):
    x, labels = normal(0, 12, 5), np.repeat(np.arange(4), 3)
    huge = x / np.abs(x).max() * np.float32(3e38)
    small = huge * np.float32(2.0**-60)
    want, got = (triplet_loss(backend, mining, rows, labels, 0.5, "cosine") for rows in (small, huge))
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-6)
    assert np.isfinite(got.grad).all()


@in_each_mining
def test_a_batch_of_nan_rows_has_a_nan_loss(backend, mining):
    x = np.full((6, 3), np.nan, np.float32)
    assert np.isnan(float(triplet_loss(backend, mining, x, np.array([5, 5, 5, 2, 2, 2])).loss))


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_memory_layout_and_dtype_do_not_matter(numpy_backend, mining, metric):
    x, labels = normal(0, 30, 12), random_labels(0, 30, 5)
    strided = np.asfortranarray(x).astype(np.float64), np.repeat(labels, 2)[::2]
    want = triplet_loss(numpy_backend, mining, x, labels, 1.0, metric)
    got = triplet_loss(numpy_backend, mining, *strided, 1.0, metric)
    assert_bit_identical(got.grad, want.grad)
    assert_bit_identical(np.float32(got.loss), np.float32(want.loss))


X, LABELS = np.zeros((4, 3), np.float32), np.array([0, 0, 1, 1])
FUNCTIONS = ["mine_triplets", "triplet_loss"]


@pytest.mark.parametrize("function", FUNCTIONS)
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


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_unknown_rule_is_rejected(backend, reject, function):
    match = f"mining must be one of {', '.join(MININGS)}, received mining='easy'"
    reject(backend, match, function, X, LABELS, mining="easy")


@pytest.mark.parametrize("mining", ["semihard", "hard"])
def test_the_functions_named_after_a_rule_are_the_same(any_backend, mining):
    x, labels = normal(0, 20, 3), random_labels(0, 20, 5)
    named = getattr(any_backend, f"mine_{mining}")(x, labels, "euclidean")
    for part, wanted in zip(named, mine(any_backend, mining, x, labels, "euclidean"), strict=True):
        assert_bit_identical(part, wanted)
    named = getattr(any_backend, f"triplet_{mining}")(x, labels, 0.3, "euclidean")
    want = triplet_loss(any_backend, mining, x, labels, 0.3, "euclidean")
    loss, wanted = (named, want) if any_backend.name == "twin" else (named.loss, want.loss)
    assert_bit_identical(np.float32(loss), np.float32(wanted))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_labels_that_are_no_integers_are_rejected(backend, function):
    with pytest.raises((*backend.errors, TypeError), match="labels"):
        getattr(backend, function)(X, LABELS + 0.5)
