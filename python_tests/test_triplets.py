# SPDX-License-Identifier: MIT
"""mine_triplets by each rule: ties, batches with nothing to mine, NaN rows, both searches of a row.

Large batches of small classes are in test_triplets_large.py, losses in test_triplet_loss.py.
"""

import functools

import numpy as np
import oracles
import pytest
from asserts import assert_mined_by_rule, pairwise_tolerance
from hypothesis import given
from hypothesis import strategies as st
from inputs import integers, normal, signs
from mining import (
    METRICS,
    MININGS,
    assert_mined_exactly,
    mine,
    of_rule,
    random_labels,
    shuffled_labels,
    triplet_loss,
)

from fslcore import kernels

in_each_mining = pytest.mark.parametrize("mining", MININGS)


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch", [2, 7, 17, 65])
def test_mining_is_exact_on_integers_full_of_ties(any_backend, mining, metric, batch):
    # 65 rows of four signs are 16 different points: nearly every distance is tied with others.
    x = signs(batch, batch, 4)
    assert_mined_exactly(any_backend, mining, x, random_labels(1, batch, 5), metric)


@pytest.mark.each_level
@in_each_mining
@pytest.mark.parametrize("dim", [0, 1, 3, 16, 33])
@pytest.mark.parametrize("batch", [0, 1, 2, 8, 9, 16, 31, 64, 97, 257])
def test_mining_is_exact_at_every_size(numpy_backend, mining, batch, dim):
    x, labels = integers(0, batch, dim), random_labels(1, batch, max(1, batch // 3))
    assert_mined_exactly(numpy_backend, mining, x, labels)


# Up to 96 positives an anchor's row is scanned for four at a time; beyond, it is sorted into the gaps between
# them.
@pytest.mark.each_level
@in_each_mining
@pytest.mark.parametrize(
    "sizes", [(96, 97, 98, 99), (300, 40), (258, 2), (257, 1), (130, 97, 6, 5, 4, 1)], ids=str
)
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
def test_mining_is_exact_with_many_positives(numpy_backend, mining, sizes, metric):
    # In three columns ties abound.
    assert_mined_exactly(numpy_backend, mining, integers(1, sum(sizes), 3), shuffled_labels(*sizes), metric)


@pytest.mark.each_level
@in_each_mining
@pytest.mark.parametrize("outlier", [0.0, 2.0**11, 2.0**70])
def test_mining_is_exact_with_many_positives_on_very_different_scales(numpy_backend, mining, outlier):
    # One far row in each class; at 2^70 infinitely far. All other distances are at most 16^2 beside it.
    x, labels = np.zeros((240, 1), np.float32), np.arange(240) % 2
    x[:, 0] = np.random.default_rng(2).integers(-8, 9, 240)
    x[100:102] = outlier
    assert_mined_exactly(numpy_backend, mining, x, labels)


@pytest.mark.each_level
@in_each_mining
def test_mining_is_exact_where_many_positives_coincide(numpy_backend, mining):
    x, labels = np.ones((300, 2), np.float32), np.arange(300) % 2
    x[::7] = 3
    assert_mined_exactly(numpy_backend, mining, x, labels)


NUMBERS = st.sampled_from([*range(-3, 4), *range(-3, 4), np.nan])


@pytest.mark.each_level
@in_each_mining
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(-2, 2)), max_size=40),
    metric=st.sampled_from(["sqeuclidean", "euclidean"]),
)
def test_mining_any_small_batch_is_exact(mining, rows, metric):
    table = np.array(rows, np.float32).reshape(-1, 3)
    assert_mined_exactly(kernels, mining, table[:, :2], table[:, 2].astype(np.int32), metric)


@in_each_mining
@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_the_rows_permutes_the_triplets(mining, seed):
    # Normal rows have no ties, so that nothing but the numbering depends on the order.
    x, labels = normal(seed, 30, 4), random_labels(seed, 30, 6)
    order = np.random.default_rng(seed).permutation(30)
    want = set(zip(*(part.tolist() for part in mine(kernels, mining, x, labels)), strict=True))
    mined = mine(kernels, mining, x[order], labels[order])
    assert set(zip(*(order[part].tolist() for part in mined), strict=True)) == want


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_mining_normal_rows_is_right_up_to_near_ties(any_backend, mining, metric):
    x, labels = normal(3, 60, 24), random_labels(2, 60, 9)
    # The order of euclidean distances is that of their squares, on which backends select.
    on = "sqeuclidean" if metric == "euclidean" else metric
    got = mine(any_backend, mining, x, labels, metric)
    assert_mined_by_rule(mining, got, labels, oracles.pairwise(x, metric=on), pairwise_tolerance(x, x, on))


@pytest.mark.each_level
@in_each_mining
def test_mining_rows_far_from_the_origin_is_exact(numpy_backend, mining):
    # Distances of at most 300 beside squares of 1e10: the expanded form alone would pick at random.
    x = integers(0, 40, 3) + np.float32(65536)
    assert_mined_exactly(numpy_backend, mining, x, random_labels(1, 40, 6))


@pytest.mark.each_level
@in_each_mining
def test_mining_distances_up_to_infinity(numpy_backend, mining):
    # Squares of 2^108 to 2^120; the row at 2^70, alone in its class, is infinitely far from all others.
    # Float32 ties 3, 1 and 0 as seen from 2^54: the nearest in float64 has to come first.
    x = np.float32([[3], [1], [2.0**54], [2.0**60], [2.0**70], [2.0**55], [0]])
    assert_mined_exactly(numpy_backend, mining, x, np.array([2, 0, 1, 1, 3, 0, 0]))


FAR = 2.0**70  # squared beyond float32


@pytest.mark.each_level
@pytest.mark.parametrize(
    ("x", "labels", "want"),
    [
        pytest.param(
            [0, 1, FAR, 3, -FAR],
            [0, 0, 0, 1, 1],
            [(0, 2, 3), (1, 2, 3), (2, 0, 3), (3, 4, 1), (4, 3, 0)],
            id="beside numbers and alone",
        ),
        pytest.param(
            [np.nan, 0, 1, FAR], [1, 0, 0, 1], [(0, 3, 1), (1, 2, 3), (2, 1, 3), (3, 0, 1)], id="beside NaN"
        ),
        pytest.param(
            [0, np.nan, -FAR, FAR, 1],
            [0, 0, 0, 0, 1],
            [(0, 2, 4), (1, 0, 4), (2, 0, 4), (3, 0, 4)],
            id="positives beside NaN",
        ),
    ],
)
def test_infinite_distances_come_after_numbers_and_before_nan(numpy_backend, x, labels, want):
    mined = numpy_backend.mine_hard(np.float32(x)[:, None], np.array(labels))
    assert list(zip(*(part.tolist() for part in mined), strict=True)) == want


@in_each_mining
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
def test_nothing_to_mine_is_loss_zero_and_gradient_zero(backend, mining, labels, dim):
    x, labels = integers(0, len(labels), dim), np.array(labels, np.int32)
    for part in mine(backend, mining, x, labels):
        np.testing.assert_array_equal(part, np.zeros(0, np.int32), strict=True)
    loss, grad, num_pairs = triplet_loss(backend, mining, x, labels)
    assert (float(loss), int(num_pairs)) == (0.0, 0)
    np.testing.assert_array_equal(grad, np.zeros_like(x), strict=True)


@in_each_mining
@pytest.mark.parametrize("labels", [[], [4], [4, 4, 4, 4], [1, 2, 3, 4]], ids=str)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "xla"])
def test_the_twin_finds_nothing_where_nothing_is(mining, labels, compiled):
    import tensorflow as tf

    from fslcore import twins

    function = tf.function(functools.partial(mine, twins, mining), jit_compile=True) if compiled else None
    x, labels = tf.constant(integers(0, len(labels), 3)), tf.constant(labels, tf.int32)
    mined = function(x, labels) if function else mine(twins, mining, x, labels)
    assert [part.shape for part in (part.numpy() for part in mined)] == [(0,)] * 3


LABEL_FORMS = {
    "int64": lambda labels: labels.astype(np.int64),
    "negative": lambda labels: -labels - 5,
    "huge": lambda labels: labels.astype(np.int64) + 2**62,
    # Equal in their low 32 bits: labels must not be narrowed.
    "equal low halves": lambda labels: labels.astype(np.int64) << 32,
    "extremes": lambda labels: np.array([-(2**63), -1, 0, 2**63 - 1])[labels],
}


@in_each_mining
@pytest.mark.parametrize("form", LABEL_FORMS)
def test_label_values_and_width_do_not_matter(backend, mining, form):
    x, labels = integers(0, 12, 3), random_labels(1, 12, 4)
    relabelled = LABEL_FORMS[form](labels)
    assert_mined_exactly(backend, mining, x, relabelled)
    loss = triplet_loss(backend, mining, x, labels).loss
    assert float(triplet_loss(backend, mining, x, relabelled).loss) == float(loss) > 0


# NaN ------------------------------------------------------------------------------------------------


@pytest.mark.each_level
@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch", [12, 330], ids=["scanned", "sorted"])
def test_a_nan_row_is_chosen_only_where_nothing_else_is_left(numpy_backend, mining, metric, batch):
    x = signs(0, batch, 4)
    labels = np.where(np.arange(batch) % 12 < 10, 0, random_labels(1, batch, 3) + 1)
    x[4], x[11] = np.nan, np.nan  # a row of the large class and one of a small class
    assert_mined_exactly(numpy_backend, mining, x, labels, metric)


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_nan_rows_in_every_implementation(any_backend, mining, metric):
    x, labels = signs(0, 17, 4), random_labels(4, 17, 5)
    x[[0, 3, 8]] = np.nan
    assert_mined_exactly(any_backend, mining, x, labels, metric)


@in_each_mining
def test_a_batch_of_nan_rows_mines_the_first_rows(any_backend, mining):
    pairs = of_rule(
        mining,
        pairs=oracles.positive_pairs([5, 5, 5, 2, 2, 2]),
        anchors=[(0, 1), (1, 0), (2, 0), (3, 4), (4, 3), (5, 3)],
    )
    x, labels = np.full((6, 3), np.nan, np.float32), np.array([5, 5, 5, 2, 2, 2])
    a, p, n = mine(any_backend, mining, x, labels)
    assert list(zip(a.tolist(), p.tolist(), strict=True)) == pairs
    np.testing.assert_array_equal(n, np.where(labels[a] == 5, 3, 0))
