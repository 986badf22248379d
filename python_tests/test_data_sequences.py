# SPDX-License-Identifier: MIT
"""Sequences of pairs, tasks and samples: what every batch holds, epoch by epoch."""

from __future__ import annotations

import collections
import hashlib
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.data import EmbeddingStore, ImageStore, sequences
from fslcore.data.draws import Draws, Shuffled

# Classes of different sizes; those of a group follow each other.
SIZES = [2, 3, 4, 5, 6, 8, 7, 5, 9, 3]
LABELS = np.repeat(np.arange(10), SIZES)
GROUPS = (LABELS >= 4).astype(int) + (LABELS >= 7)
ROWS = len(LABELS)


@pytest.fixture(scope="module")
def store():
    """The image of row i is all i / 255."""
    images = np.broadcast_to(np.arange(ROWS, dtype=np.uint8)[:, None, None, None], (ROWS, 3, 3, 1))
    return ImageStore.from_arrays(np.ascontiguousarray(images), LABELS, GROUPS, name="numbered")


def pairs_of(sequence, epoch=0):
    """The pairs of an epoch: (query, support, target), each [M]."""
    batches = [sequence.rows(i, epoch) for i in range(len(sequence))]
    return [np.concatenate(part) for part in zip(*[(*b.rows, *b.others) for b in batches], strict=True)]


PAIRS = {
    "RandomPairs": lambda store, **kw: sequences.RandomPairs(store, 8, **kw),
    "RandomBalancedPairs": lambda store, **kw: sequences.RandomBalancedPairs(store, 8, **kw),
    "BalancedPairs": lambda store, **kw: sequences.BalancedPairs(store, 8, pairs_per_query=6, **kw),
    "ClassPairs": lambda store, **kw: sequences.ClassPairs(store, 8, batches=7, **kw),
    "GroupPairs": lambda store, **kw: sequences.GroupPairs(store, 8, batches=7, **kw),
}
OTHERS = {
    "RandomProduct": lambda store, **kw: sequences.RandomProduct(store, 500, **kw),
    "Product": lambda store, **kw: sequences.Product(store, 500, **kw),
    "Deterministic": lambda store, **kw: sequences.Deterministic(
        store, 9, shuffle=True, to_categorical=True, labels_in_input=True, **kw
    ),
    "KShotNWay": lambda store, **kw: sequences.KShotNWay(store, 2, 4, **kw),
    "OneShotTasks": lambda store, **kw: sequences.OneShotTasks(store, 5, tasks=6, batch_size=4, **kw),
    "OneShotTasks-pairs": lambda store, **kw: sequences.OneShotTasks(
        store, 3, tasks=4, batch_size=5, within_groups=True, pairs=True, **kw
    ),
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_pairs_have_true_targets_and_no_sample_with_itself(store, make):
    sequence = make(store)
    epochs = [pairs_of(sequence, epoch) for epoch in range(40)]
    reached = set()
    for query, support, target in epochs:
        assert target.dtype == np.float32
        assert np.array_equal(target, LABELS[query] == LABELS[support])
        assert not np.any(query == support)
        reached |= {*query, *support}
    assert reached == set(range(ROWS))
    assert not np.array_equal(epochs[0][1], epochs[1][1])


def test_random_pairs_take_each_query_and_each_support_once(store):
    sequence = sequences.RandomPairs(store, 8)
    assert len(sequence) == -(-ROWS // 8)
    for epoch in range(20):
        query, support, _ = pairs_of(sequence, epoch)
        assert sorted(query) == sorted(support) == list(range(ROWS))
    # Even where a permutation can hardly avoid it.
    for rows in (2, 3):
        few = sequences.RandomPairs(store.take(np.arange(rows)), 8)
        for epoch in range(30):
            query, support, _ = pairs_of(few, epoch)
            assert sorted(support) == list(range(rows))
            assert not np.any(query == support)


def test_random_balanced_pairs_alternate_and_draw_the_class_first(store):
    sequence = sequences.RandomBalancedPairs(store, 8)
    counts = np.zeros((10, 10))
    epochs = 200
    for epoch in range(epochs):
        query, support, target = pairs_of(sequence, epoch)
        assert sorted(query) == list(range(ROWS))
        assert np.array_equal(target, np.arange(ROWS) % 2)
        np.add.at(counts, (LABELS[query[::2]], LABELS[support[::2]]), 1)
    # Each of the nine other classes is as likely, however large.
    for label in range(10):
        others = np.delete(counts[label], label)
        expected = others.sum() / 9
        assert np.all(np.abs(others - expected) < 5 * np.sqrt(expected))
        assert counts[label, label] == 0


def test_balanced_pairs_have_half_of_the_pairs_inside_and_half_uniform_outside(store):
    half = 3
    sequence = sequences.BalancedPairs(store, 8, pairs_per_query=2 * half)
    assert len(sequence) == -(-ROWS * 2 * half // 8)
    drawn = np.zeros(ROWS)
    for epoch in range(60):
        query, support, target = pairs_of(sequence, epoch)
        query, support, target = (part.reshape(ROWS, 2 * half) for part in (query, support, target))
        assert sorted(query[:, 0]) == list(range(ROWS))
        assert np.array_equal(target, np.tile([1, 0], (ROWS, half)))
        for row, partners in zip(query[:, 0], support, strict=True):
            assert len(set(partners[1::2])) == half
            others = SIZES[LABELS[row]] - 1
            assert len(set(partners[::2])) == half if others >= half else len(set(partners[::2])) <= others
        outside = query[:, 0] < SIZES[0]  # queries of the first class
        np.add.at(drawn, support[outside, 1::2].ravel(), 1)
    expected = drawn.sum() / (ROWS - SIZES[0])
    assert np.all(drawn[: SIZES[0]] == 0)
    assert np.all(np.abs(drawn[SIZES[0] :] - expected) < 5 * np.sqrt(expected))


def test_two_sources_share_their_classes_by_name():
    numbers = np.arange(9.0)[:, None]
    query = (numbers, list("bbbaaaccc"))
    support = (numbers[:4] + 100, list("cabd"))
    first = sequences.RandomPairs(query, 4, support=support, preprocessing=(None, lambda x: x + 1000))
    inputs, target = first.batch(0, 0)
    assert (inputs[0].shape, inputs[0].max() < 9, inputs[1].min()) == ((4, 1), True, 1100)
    for make in (sequences.RandomBalancedPairs, sequences.BalancedPairs, sequences.Product):
        sequence = make(query, 4, support=support)
        for (left, right), target in itertools.islice(sequence, len(sequence)):
            names = [query[1][int(i)] for i in left[:, 0]], [support[1][int(i) - 100] for i in right[:, 0]]
            assert [a == b for a, b in zip(*names, strict=True)] == target.astype(bool).tolist()
    assert len(sequences.Product(query, 4, support=support)) == 9
    every = sequences.Product(query, 100, support=support).batch(0, 0)[0]
    assert every[0][:, 0].tolist() == np.repeat(np.arange(9), 4).tolist()
    assert every[1][:, 0].tolist() == np.tile(np.arange(100, 104), 9).tolist()
    assert sequences.Product(query, 7, targets=False).batch(0, 0)[0][1].shape == (7, 1)
    with pytest.raises(ArgumentError, match="with none of 'a'"):
        sequences.BalancedPairs(query, 4, support=(numbers[:4], list("bccd")))


@pytest.mark.parametrize("self_pairs", [True, False])
def test_a_random_product_has_every_pair_once(self_pairs):
    for count in (2, 3, 7, 20):
        sequence = sequences.RandomProduct(
            (np.zeros((count, 1)), [i % 2 for i in range(count)]), 50, self_pairs=self_pairs
        )
        expected = [(i, j) for i in range(count) for j in range(count) if self_pairs or i != j]
        orders = []
        for epoch in range(3):
            first, second, target = pairs_of(sequence, epoch)
            orders.append(list(zip(first, second, strict=True)))
            assert sorted(orders[-1]) == expected
            assert np.array_equal(target, first % 2 == second % 2)
        if count > 3:
            assert orders[0] != orders[1] != orders[2]
    large = sequences.RandomProduct((np.zeros((100_000, 1), np.uint8), np.arange(100_000) % 7), 64)
    assert len(large) == 10**10 // 64
    assert large.batch(len(large) - 1, 5)[0][0].shape == (64, 1)


def test_shuffled_numbers_are_uniform():  # the first of four, over 1,000 keys
    firsts = [int(Shuffled(4, Draws(0, epoch))(0, 1)[0]) for epoch in range(1000)]
    counts = np.bincount(firsts, minlength=4)
    assert np.all(np.abs(counts - 250) < 5 * np.sqrt(250))


def test_deterministic_samples_and_their_labels(store):
    source = (np.arange(5)[:, None], list("cacab"))

    def first(**options):
        return sequences.Deterministic(source, 3, **options).batch(0, 0)

    images, labels = first()
    assert (images[:, 0].tolist(), labels.tolist(), labels.dtype) == ([0, 1, 2], [2, 0, 2], np.int32)
    assert len(first(labels_in_output=False)) == 1
    (images, inside), labels = first(labels_in_input=True, to_categorical=True, classes=list("cbad"))
    assert inside.tolist() == labels.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    ((images, inside),) = first(labels_in_input=True, labels_in_output=False)
    assert inside.tolist() == [2, 0, 2]
    shuffled = sequences.Deterministic(store, 7, shuffle=True)
    orders = [
        np.concatenate([shuffled.rows(i, epoch).rows[0] for i in range(len(shuffled))]) for epoch in (0, 1)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(ROWS))
    assert not np.array_equal(*orders)
    with pytest.raises(ArgumentError, match="no 'b', a class of"):
        first(classes=list("ca"))


def most_batches(sizes, k_shot, n_way):
    """By filling batches with the classes that have most groups left, which is known to be best."""
    left, batches = [size // k_shot for size in sizes], 0
    while True:
        left.sort(reverse=True)
        if left[n_way - 1] == 0:
            return batches
        left[:n_way] = [groups - 1 for groups in left[:n_way]]
        batches += 1


@pytest.mark.parametrize(("k_shot", "n_way"), [(1, 1), (1, 10), (2, 4), (2, 10), (1, 3)])
def test_k_shot_n_way_batches_have_distinct_classes(store, k_shot, n_way):
    sequence = sequences.KShotNWay(store, k_shot, n_way)
    assert len(sequence) == most_batches(SIZES, k_shot, n_way)
    reached = set()
    for epoch in range(60):
        batches = [sequence.rows(i, epoch) for i in range(len(sequence))]
        rows = np.stack([batch.rows[0] for batch in batches]).reshape(len(batches), n_way, k_shot)
        assert len(set(rows.ravel())) == rows.size
        assert np.all(LABELS[rows] == LABELS[rows][..., :1])
        assert all(len(set(batch)) == n_way for batch in LABELS[rows[..., 0]].tolist())
        assert np.array_equal(LABELS[rows].reshape(len(batches), -1), [batch.others[0] for batch in batches])
        reached |= set(rows.ravel())
    assert reached == set(range(ROWS))


def test_one_shot_tasks_have_one_right_support_anywhere(store):
    places = collections.Counter()
    for epoch in range(30):
        for n_way, options in ((5, {}), (3, {"within_groups": True})):
            sequence = sequences.OneShotTasks(store, n_way, tasks=8, batch_size=5, **options)
            groups = []
            for i in range(len(sequence)):
                (query, support), (place,) = sequence.rows(i, epoch)
                assert place.dtype == np.int32
                assert all(len(set(labels)) == n_way for labels in LABELS[support].tolist())
                right = support[np.arange(len(place)), place]
                assert np.array_equal(LABELS[right], LABELS[query])
                assert not np.any(right == query)
                if options:
                    assert np.all(GROUPS[support] == GROUPS[query][:, None])
                    groups += GROUPS[query].tolist()
                else:
                    places.update(place.tolist())
            assert groups == (np.repeat(np.arange(3), 8).tolist() if options else [])
    assert set(places) == set(range(5))
    assert all(abs(count - 48) < 5 * np.sqrt(48) for count in places.values())
    every = sequences.OneShotTasks(store, None, tasks=2, within_groups=True)
    assert [every.rows(i).rows[1].shape for i in range(6)] == [(1, 4)] * 2 + [(1, 3)] * 4
    paired = sequences.OneShotTasks(store, 4, tasks=3, batch_size=3, pairs=True).rows(0)
    plain = sequences.OneShotTasks(store, 4, tasks=3, batch_size=3).rows(0)
    assert np.array_equal(paired.rows[0], np.repeat(plain.rows[0], 4))
    assert np.array_equal(paired.rows[1], plain.rows[1].ravel())
    assert np.array_equal(paired.others[0].reshape(3, 4).argmax(1), plain.others[0])
    assert paired.others[0].sum() == 3


def test_pairs_of_distinct_classes_and_of_one_group(store):
    by_class = sequences.ClassPairs(store, 10, batches=30)
    assert len(by_class) == 30
    for i in range(30):
        (query, _), (target,) = by_class.rows(i)
        assert len(set(LABELS[query])) == 10
        assert target.tolist() == [0] * 5 + [1] * 5
    by_group = sequences.GroupPairs(store, 6, batches=4)
    seen = []
    for epoch in range(3):
        for i in range(4):
            (query, support), (target,) = by_group.rows(i, epoch)
            (group,) = {*GROUPS[query], *GROUPS[support]}
            seen.append(group)
            assert target.sum() == 3
    assert seen == [0, 1, 2] * 4  # the last group, too
    assert len(sequences.GroupPairs(store, 6)) == 3


@pytest.mark.parametrize("make", [*PAIRS.values(), *OTHERS.values()], ids=[*PAIRS, *OTHERS])
def test_a_dataset_has_the_batches_of_the_sequence(store, make):
    single = make in (OTHERS["Deterministic"], OTHERS["KShotNWay"])
    seed = {} if make is OTHERS["Product"] else {"seed": 3}
    sequence = make(store, preprocessing=[lambda images: 2 * images, None][: 1 if single else 2], **seed)
    dataset = sequence.dataset(epochs=2, first=1)
    found = list(dataset)
    assert len(found) == int(dataset.cardinality()) == 2 * len(sequence)
    for number, batch in enumerate(found):
        epoch, index = divmod(number, len(sequence))
        expected = sequence.batch(index, 1 + epoch)
        tf.nest.map_structure(np.testing.assert_array_equal, batch, expected)
        tf.nest.assert_same_structure(batch, expected)
    specs = tf.nest.flatten(dataset.element_spec)
    assert all(
        spec.is_compatible_with(tensor) for spec, tensor in zip(specs, tf.nest.flatten(found[0]), strict=True)
    )
    assert sequence.dataset().cardinality() == tf.data.INFINITE_CARDINALITY
    assert [spec.shape.rank for spec in specs] == [array.ndim for array in tf.nest.flatten(expected)]


DIGESTS = {
    "RandomPairs": "9db01ee1",
    "RandomBalancedPairs": "ccd78145",
    "BalancedPairs": "6cf171a0",
    "ClassPairs": "e1f0386d",
    "GroupPairs": "d6f7e6a8",
    "RandomProduct": "96608910",
    "Deterministic": "7dfe5c63",
    "KShotNWay": "4f1ec1af",
    "OneShotTasks": "a268398f",
}


def test_rows_are_a_function_of_the_seed_and_the_epoch(store):  # with every version of NumPy
    def digest(name, seed):
        sequence = {**PAIRS, **OTHERS}[name](store, seed=seed)
        found = hashlib.blake2b(digest_size=4)
        for epoch in (2, 0):  # in any order
            for i in range(len(sequence)):
                for rows in sequence.rows(i, epoch).rows:
                    found.update(rows.astype("<i8").tobytes())
        return found.hexdigest()

    assert {name: digest(name, 5) for name in DIGESTS} == DIGESTS
    assert not any(digest(name, 6) == DIGESTS[name] for name in DIGESTS)


@pytest.mark.parametrize("options", [{}, {"workers": 2}], ids=["one thread", "two workers"])
def test_fit_goes_through_the_epochs(store, options):
    seen = []

    class Seen(keras.layers.Layer):
        def call(self, inputs):
            query, support = inputs
            tf.py_function(lambda a: seen.append(a.numpy()), [query[:, 0, 0, 0]], [])
            return keras.ops.mean(keras.ops.abs(query - support), axis=(1, 2, 3))[:, None]

    inputs = [keras.Input((3, 3, 1)), keras.Input((3, 3, 1))]
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(Seen()(inputs)))
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    sequence = sequences.RandomBalancedPairs(store, 20, **options)
    model.fit(sequence, epochs=2, verbose=0, shuffle=False)
    expected = [pairs_of(sequence, epoch)[0] for epoch in range(2)]
    assert np.rint(255 * np.concatenate(seen)).astype(int).tolist() == np.concatenate(expected).tolist()
    assert sequence.epoch == 2
    sequence[0]
    for _ in range(2):  # as a loop of one's own; a second end without a batch is none
        sequence.on_epoch_end()
    assert sequence.epoch == 3
    product = sequences.Product(store.take(np.arange(4)), 5, targets=False)
    assert model.predict(product, verbose=0).shape == (16, 1)


def test_embeddings_are_samples_too():
    embeddings = np.arange(12, dtype=np.float32).reshape(6, 2)
    source = EmbeddingStore(embeddings, np.repeat(np.arange(3), 2).astype(np.int32))
    (query, _), _ = sequences.RandomPairs(source, 6).batch(0, 0)
    assert query.shape == (6, 1, 1, 2)
    assert sorted(query[:, 0, 0, 0]) == embeddings[:, 0].tolist()


ARRAYS = (np.zeros((6, 2)), [0, 0, 0, 1, 1, 2])
REFUSED = [
    (lambda: sequences.RandomPairs("folder", 2), "source must be a store, a DataFrame or a pair"),
    (
        lambda: sequences.RandomPairs((np.zeros((3, 1)), [1, 2]), 2),
        "labels must have a label for each of the 3",
    ),
    (lambda: sequences.RandomPairs((np.zeros((2, 1)), ["a", None]), 2), "labels must hold a value"),
    (lambda: sequences.RandomPairs((np.array([["a"]]), [1]), 2), "source must be a pair of numbers"),
    (lambda: sequences.RandomPairs((np.zeros((1, 1)), [1]), 2), "source must have two samples or more"),
    (lambda: sequences.RandomPairs(ARRAYS, 0), "batch_size must be an integer of 1"),
    (lambda: sequences.RandomPairs(ARRAYS, 2, seed=-1), "seed must be at least 0"),
    (lambda: sequences.RandomPairs(ARRAYS, 2, epoch=-1), "epoch must be an integer of 0"),
    (lambda: sequences.RandomPairs(ARRAYS, 2, preprocessing=[None]), "or 2 of them"),
    (lambda: sequences.RandomBalancedPairs(ARRAYS, 2), "'2' has 1; leave these classes out"),
    (lambda: sequences.RandomBalancedPairs((np.zeros((2, 1)), [1, 1]), 2), "source must have 2 classes"),
    (lambda: sequences.BalancedPairs(ARRAYS, 3), "batch_size must be even"),
    (lambda: sequences.BalancedPairs(ARRAYS, 2, pairs_per_query=3), "pairs_per_query must be even"),
    (lambda: sequences.ClassPairs(ARRAYS, 4, batches=1), "batch_size must be at most 3"),
    (lambda: sequences.ClassPairs(ARRAYS, 3, batches=1), "batch_size must be even"),
    (lambda: sequences.GroupPairs(ARRAYS, 2), "source must have groups"),
    (lambda: sequences.KShotNWay(ARRAYS, 2, 2), "'2' has 1; leave"),
    (lambda: sequences.KShotNWay(ARRAYS, 1, 4), "n_way must be at most 3"),
    (lambda: sequences.OneShotTasks(ARRAYS, 4, tasks=1), "n_way must be at most 3"),
    (lambda: sequences.OneShotTasks(ARRAYS, 1, tasks=1), "n_way must be an integer of 2"),
    (lambda: sequences.OneShotTasks(ARRAYS, None, tasks=1, batch_size=2), "batch_size must be 1 where n_way"),
    (lambda: sequences.OneShotTasks((np.zeros((2, 1)), [0, 1]), 2, tasks=1), "a class with two samples"),
    (lambda: sequences.OneShotTasks(ARRAYS, 2, tasks=1, within_groups=True), "source must have groups"),
    (lambda: sequences.Deterministic(ARRAYS, 2, classes="012"), "not a single string"),
    (lambda: sequences.Deterministic(ARRAYS, 2, shuffle=1), "shuffle must be True or False"),
    (lambda: sequences.RandomPairs(ARRAYS, 2).dataset(epochs=0), "epochs must be an integer of 1"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_served_is_refused_at_once(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_there_is_no_batch_beyond_the_last():
    sequence = sequences.Deterministic(ARRAYS, 4)
    assert np.array_equal(sequence[-1][1], sequence[1][1])
    with pytest.raises(IndexError, match="below 2, the batches of an epoch"):
        sequence[2]
