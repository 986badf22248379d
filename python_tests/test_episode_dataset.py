# SPDX-License-Identifier: MIT
"""The source op of episodes: checkpoints, shards, serialisation, threads, and what it refuses."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.data import EmbeddingStore, ImageStore
from fslcore.ops.datasets import episode_dataset

LABELS = np.repeat(np.arange(6), 5)


@pytest.fixture(scope="module")
def store():
    return ImageStore(np.random.default_rng(0).integers(0, 256, (30, 4, 4, 2), np.uint8), LABELS)


FORMS = {
    "episodes": lambda store, **at: store.episodes(3, 1, 2, seed=4, rotations=True, **at),
    "varying": lambda store, **at: store.episodes((2, 5), (1, 3), 1, seed=4, **at),
    "tasks": lambda store, **at: store.episodes(3, 1, 2, n_unlabelled=1, tasks=2, seed=4, **at),
    "pk_batches": lambda store, **at: store.pk_batches(3, 2, seed=4, rotations=True, **at),
    "minibatches": lambda store, **at: store.minibatches(
        3, 4, tasks=2, steps=3, batch=5, seed=4, rotations=True, **at
    ),
}
EACH_FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


def taken(iterator, count):
    return [tuple(part.numpy() for part in next(iterator)) for _ in range(count)]


def assert_same(received, expected):
    assert len(received) == len(expected)
    for one, other in zip(received, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            assert_array_equal(a, b)


@EACH_FORM
def test_iterators_are_saved_restored_and_skipped_in_one_pipeline_or_more(store, form, tmp_path):
    dataset = form(store)
    whole = taken(iter(dataset), 40)
    iterator = iter(dataset)
    assert_same(taken(iterator, 21), whole[:21])
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "at"))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 4000, "elements were saved"
    assert_same(taken(iterator, 19), whole[21:])
    tf.train.Checkpoint(iterator=iterator).read(path)
    assert_same(taken(iterator, 5), whole[21:26])
    assert_same(taken(iter(dataset.skip(17)), 5), whole[17:22])
    # A pipeline that tf.data rewrites, with one thread of its own.
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    longer = dataset.skip(2).take(9).map(lambda *parts: parts).prefetch(2).with_options(options)
    assert_same(taken(iter(longer), 9), whole[2:11])
    graph = tf.raw_ops.DatasetToGraphV2(input_dataset=dataset.take(3)._variant_tensor)
    again = tf.data.experimental.from_variant(
        tf.raw_ops.DatasetFromGraph(graph_def=graph), dataset.element_spec
    )
    assert_same([tuple(part.numpy() for part in element) for element in again], whole[:3])


@EACH_FORM
@pytest.mark.parametrize("workers", [1, 3])
def test_shards_together_draw_each_element_once(store, form, workers):
    whole = taken(iter(form(store, first=4)), 12)
    tasks = 2 if form is FORMS["tasks"] else 1
    for worker in range(workers):
        # `episodes` counts episodes, also where an element has several.
        part = form(store, first=4 + worker * tasks, step=workers)
        assert_same(taken(iter(part), 12 // workers), whole[worker::workers])


def test_mini_batches_are_those_of_the_oracles(store):
    (n_way, k_shot), tasks, steps, batch, seed = (3, 4), 2, 3, 5, 9
    elements = taken(iter(store.minibatches(3, 4, tasks=tasks, steps=steps, batch=batch, seed=seed)), 4)
    tables = oracles.sample_episodes(LABELS, n_way, k_shot, 0, 4 * tasks, seed)
    passes = -(-steps * batch // (n_way * k_shot))
    for i, (images, labels) in enumerate(elements):
        for task in range(tasks):
            number = i * tasks + task
            orders = oracles.permutations(n_way * k_shot, passes, seed + 2**62, number * passes)
            order = np.ravel(orders)[: steps * batch].reshape(steps, batch)
            assert_array_equal(labels[task], order // k_shot)
            rows = np.ravel(tables[number])[order]
            assert_array_equal(images[task], kernels.gather_images(store.images, rows))


def test_embeddings_are_copied_as_they_are():
    embeddings = np.random.default_rng(1).normal(size=(30, 7)).astype(np.float32)
    store = EmbeddingStore(embeddings, LABELS)
    for i, (support, query) in enumerate(taken(iter(store.episodes(4, 1, 2, seed=2)), 5)):
        (table,) = kernels.sample_episodes(store.labels, 4, 1, 2, 1, 2, first_episode=i)
        together = np.concatenate([support, query], 1)
        assert_array_equal(together, embeddings[table][:, :, None, None])


def test_cardinality_ends_and_iterators_do_not_share_their_place(store):
    dataset = store.episodes(2, 1, 1, tasks=2, episodes=6)
    one, other = iter(dataset), iter(dataset)
    assert dataset.cardinality() == 3
    assert_same(taken(one, 2), taken(other, 2))
    assert_same(taken(one, 1), taken(other, 1))
    for iterator in (one, other, iter(dataset.skip(3)), iter(dataset.skip(9))):
        with pytest.raises(StopIteration):
            next(iterator)
    assert store.pk_batches(2, 2).cardinality() == tf.data.INFINITE_CARDINALITY
    for wrong in (0, -1, 1.5):
        with pytest.raises(
            ArgumentError, match=f"step must be an integer of 1 or more, received step={wrong}"
        ):
            store.pk_batches(2, 2, step=wrong)


GOOD = {
    "store": np.zeros((30, 4, 4, 2), np.uint8),
    "rows": np.zeros(0, np.int64),
    "labels": LABELS.astype(np.int64),
    "spec": (tf.TensorSpec([3, 1, 4, 4, 2]), tf.TensorSpec([3, 2, 4, 4, 2])),
    "form": "episodes",
    "ways": (3, 3),
    "least_shot": 1,
    "parts": (1, 2),
    "tasks": 0,
    "steps": 0,
    "batch": 0,
    "rotations": False,
    "gathers": True,
    "seed": 0,
    "other_seed": 0,
    "first": 0,
    "step": 1,
    "count": -1,
}
REFUSED = {
    "store of three axes": ({"store": np.zeros((30, 4, 4), np.uint8)}, "store must have 4 axes"),
    "store of other length": ({"store": np.zeros((29, 4, 4, 2), np.uint8)}, "an image for each label"),
    "turned floats": (
        {"rotations": True, "store": np.zeros((30, 4, 4, 2), np.float32)},
        "store must hold square images of uint8",
    ),
    "turned oblong": (
        {"rotations": True, "store": np.zeros((30, 4, 3, 2), np.uint8)},
        "store must hold square images of uint8",
    ),
    "some rows": ({"rows": np.zeros(3, np.int64)}, "rows must be empty or have a number for each label"),
    "row beyond": ({"rows": np.full(30, 30)}, r"rows must be in \[0, 30\), received 30"),
    "row below": ({"rows": np.full(30, -1)}, "rows must be in .*, received -1"),
    "labels of two axes": ({"labels": np.zeros((30, 1), np.int64)}, "labels must have one axis"),
    "no labels": ({"labels": np.zeros(0, np.int64), "store": np.zeros((0, 4, 4, 2), np.uint8)}, "n_way must"),
    "too many ways": ({"ways": (3, 7)}, r"n_way must be at most the number of classes \(6\), received 7"),
    "no ways": ({"ways": (0, 0)}, "n_way must be at least 1"),
    "ways the wrong way round": ({"ways": (4, 3)}, "least_way must be from 1 to n_way, received 4"),
    "shots": ({"least_shot": 2}, "least_shot must be from 1 to the first part, received 2"),
    "parts": ({"parts": (1, 5)}, "must not exceed the images of any class"),
    "negative part": ({"parts": (1, -1)}, r"parts must be from 0 to 2\^31 - 1"),
    "no parts": ({"parts": ()}, "parts must hold at least one number"),
    "tasks": ({"tasks": -1}, "tasks must be at least 0"),
    "varying tasks": ({"tasks": 2, "ways": (2, 3)}, "must not vary in an element of several tasks"),
    "seed": ({"seed": -1}, "seed must be at least 0"),
    "other seed": ({"other_seed": -1}, "other_seed must be at least 0"),
    "first": ({"first": -1}, "first must be at least 0"),
    "step": ({"step": 0}, "step must be at least 1"),
    "count": ({"count": -2}, "count must be at least -1"),
    "batch with parts": ({"form": "batch"}, "parts must hold one number for elements with labels"),
    "batch with tasks": ({"form": "batch", "parts": (1,), "tasks": 2}, "tasks must be 0 for a batch"),
    "no steps": ({"form": "minibatches", "parts": (1,), "tasks": 1, "batch": 1}, "steps must be at least 1"),
    "vast": ({"tasks": 2**62}, "must have fewer than"),
    "spec": ({"spec": (tf.TensorSpec([3, 1, 4, 4, 2]),)}, "output_shapes and output_types must be those"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_the_op_refuses(changes, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        episode_dataset(**{**GOOD, **changes})


def test_an_element_beyond_the_memory_is_an_error():
    vast = {"tasks": 2**50, "spec": tuple(tf.TensorSpec([2**50, *s.shape]) for s in GOOD["spec"])}
    with pytest.raises(tf.errors.ResourceExhaustedError, match="no memory left"):
        next(iter(episode_dataset(**{**GOOD, **vast})))
