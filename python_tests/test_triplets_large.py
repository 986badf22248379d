# SPDX-License-Identifier: MIT
"""Mining in large batches: anchors with few positives are searched for all at once.

Semi-hard, from 512 rows on, that is anchors with up to batch / 256 - 1 positives: 3 in the batches here, so
that classes of 2 to 4 go one way and larger ones the other. The rules with a triplet for every anchor mine
all anchors so.
"""

import numpy as np
import oracles
import pytest
from asserts import assert_bit_identical
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import normal, signs
from mining import METRICS, MININGS, assert_mined_exactly, mine, of_rule, shuffled_labels, triplet_loss

from fslcore import kernels

in_each_mining = pytest.mark.parametrize("mining", MININGS)

# 1100 is no multiple of a panel.
LABELS = {
    "1024 in pairs": shuffled_labels(*[2] * 512),
    "1024 of all kinds": shuffled_labels(100, *[2, 3, 4, 1] * 90, *[5, 9, 6, 4]),
    "1100 of all kinds": shuffled_labels(100, *[4, 3, 2, 1] * 96, *[8, 7, 5, 20]),
}
in_each_batch = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())


def few_points(seed, *shape):
    """Integers up to 2 in size: equal distances everywhere, and equal rows."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


@pytest.mark.each_level
@in_each_mining
@in_each_batch
@pytest.mark.parametrize("dim", [3, 8])
def test_mining_is_exact_on_integers_full_of_ties(numpy_backend, mining, labels, dim):
    assert_mined_exactly(numpy_backend, mining, few_points(dim, len(labels), dim), labels)


@pytest.mark.each_level
@in_each_mining
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_other_metrics(numpy_backend, mining, metric):
    labels = LABELS["1100 of all kinds"]
    assert_mined_exactly(numpy_backend, mining, signs(1, len(labels), 4), labels, metric)


# The least batch for one positive, and the one before it; the least for two.
@in_each_mining
@pytest.mark.parametrize("batch", [511, 512, 513, 768])
def test_mining_is_exact_where_the_ways_part(numpy_backend, mining, batch):
    labels = shuffled_labels(*[1, 2, 3, 4] * (batch // 10), batch % 10 + 1)[:batch]
    assert_mined_exactly(numpy_backend, mining, few_points(batch, batch, 4), labels)


@pytest.mark.each_level
@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_equal_rows_everywhere(numpy_backend, mining, metric):
    # Nothing is beyond distance 0: the farthest and the nearest are both the first row of another class.
    labels = LABELS["1100 of all kinds"]
    x = np.full((len(labels), 3), 0.7, np.float32)
    a, p, n = mine(numpy_backend, mining, x, labels, metric)
    pairs = oracles.positive_pairs(labels)
    first = [pair for i, pair in enumerate(pairs) if i == 0 or pairs[i - 1][0] != pair[0]]
    pairs = of_rule(mining, pairs=pairs, anchors=first)
    assert list(zip(a.tolist(), p.tolist(), strict=True)) == pairs
    first_of_another = np.argmax(labels != labels[0])
    np.testing.assert_array_equal(n, np.where(labels[a] == labels[0], first_of_another, 0))


@pytest.mark.each_level
@in_each_mining
def test_nan_rows_are_chosen_only_where_nothing_else_is_left(numpy_backend, mining):
    labels = LABELS["1100 of all kinds"]
    x = few_points(0, len(labels), 4)
    x[[0, 1, 511, 512, len(x) - 1]] = np.nan
    sizes = np.bincount(labels)
    for size in (2, 3, 4, 100):  # one member of a class of each size, and all of another but for the largest
        x[np.flatnonzero(labels == np.flatnonzero(sizes == size)[0])[0]] = np.nan
        if size < 100:
            x[labels == np.flatnonzero(sizes == size)[1]] = np.nan
    assert_mined_exactly(numpy_backend, mining, x, labels)


@pytest.mark.each_level
@in_each_mining
def test_only_one_class_is_not_nan(numpy_backend, mining):
    labels = LABELS["1100 of all kinds"]
    x = few_points(0, len(labels), 4)
    x[labels != np.flatnonzero(np.bincount(labels) == 4)[0]] = np.nan
    assert_mined_exactly(numpy_backend, mining, x, labels)


@pytest.mark.each_level
@in_each_mining
def test_a_positive_beyond_all_negatives(numpy_backend, mining):
    labels = LABELS["1100 of all kinds"]
    x = few_points(0, len(labels), 4)
    # One row of every third class far from all others, each at its own distance.
    _, first = np.unique(labels, return_index=True)
    x[first[::3], 0] = 100 + np.arange(len(first[::3]))
    anchor, positive, negative = mine(numpy_backend, mining, x, labels)
    distance = oracles.pairwise(x)
    assert np.any(distance[anchor, positive] > distance[anchor, negative])
    assert_mined_exactly(numpy_backend, mining, x, labels)


@pytest.mark.each_level
@in_each_mining
def test_distances_up_to_infinity(numpy_backend, mining):
    # Rows alone in their classes, infinitely far from all others: the negatives of positives that have none
    # nearer.
    labels = LABELS["1024 of all kinds"]
    x = few_points(0, len(labels), 4)
    alone = np.isin(labels, np.flatnonzero(np.bincount(labels) == 1))
    x[np.flatnonzero(alone)[[3, 40]], 0] = 2.0**70, -(2.0**70)
    far, negative = np.flatnonzero(alone)[[3, 40]], mine(numpy_backend, mining, x, labels)[2]
    assert np.isin(far[0], negative) == of_rule(mining, pairs=True, anchors=False)
    assert_mined_exactly(numpy_backend, mining, x, labels)


@settings(max_examples=10)
@in_each_mining
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(512, 1300),
    classes=st.integers(100, 700),
    dim=st.integers(1, 5),
)
def test_mining_any_large_batch_is_exact(mining, seed, batch, classes, dim):
    labels = np.random.default_rng(seed).integers(0, classes, batch)
    assert_mined_exactly(kernels, mining, few_points(seed, batch, dim), labels)


@in_each_mining
def test_every_implementation_mines_the_same(any_backend, mining):
    labels = LABELS["1100 of all kinds"]
    x = few_points(5, len(labels), 3)
    x[17] = np.nan
    assert_mined_exactly(any_backend, mining, x, labels)


@in_each_mining
@pytest.mark.parametrize("metric", METRICS)
def test_every_backend_gives_the_same_bits(backend, numpy_backend, mining, metric):
    labels = LABELS["1024 of all kinds"]
    x = normal(0, len(labels), 9)
    got = triplet_loss(backend, mining, x, labels, 0.5, metric)
    want = triplet_loss(numpy_backend, mining, x, labels, 0.5, metric)
    assert_bit_identical(np.float32(got.loss), np.float32(want.loss))
    assert_bit_identical(got.grad, want.grad)


@pytest.mark.each_level
@in_each_mining
def test_ties_do_not_depend_on_threads(threads, mining):
    # Each thread keeps its own nearest rows: of equal ones the first has to win between threads, too.
    labels = LABELS["1100 of all kinds"]
    x = few_points(7, len(labels), 3)
    threads(1)
    want = mine(kernels, mining, x, labels)
    for count in (2, 2, 2, 3, 3, 3):
        threads(count)
        for part, wanted in zip(mine(kernels, mining, x, labels), want, strict=True):
            assert_bit_identical(part, wanted)


def test_xla_refuses_more_triplets_than_its_sizes_can_count():
    # 46,341 * 46,340 is below 2^31, which is the most that XLA's dynamic sizes hold.
    import tensorflow as tf

    from fslcore import ops

    labels = tf.constant(np.arange(46_342) // 2)
    compiled = tf.function(lambda x: ops.mine_triplets(x, labels)[0], jit_compile=True)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"fewer than 2\^31 results"):
        compiled(tf.zeros([46_342, 1]))
