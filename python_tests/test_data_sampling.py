# SPDX-License-Identifier: MIT
"""Episodes and batches as datasets: what they hold, that they can be resumed, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, get_dummies

N_CLASSES, PER_CLASS = 6, 5


@pytest.fixture(scope="module")
def store():
    """30 random images: no two are equal, in whatever rotation."""
    images = np.random.default_rng(0).integers(0, 256, (N_CLASSES * PER_CLASS, 4, 4, 2), np.uint8)
    return ImageStore(images, np.repeat(np.arange(N_CLASSES), PER_CLASS), name="toy")


@pytest.fixture(scope="module")
def identify(store):
    """Maps float images [..., H, W, C] to (row, quarter turns), each [...]."""
    known = {
        np.rot90(image, turns).tobytes(): (row, turns)
        for row, image in enumerate(store.images)
        for turns in range(4)
    }

    def look_up(images):
        # A byte survives v * (1 / 255) * 255 in float32 within 255 * 2**-22, far less than a half.
        flat = np.rint(np.asarray(images) * 255).astype(np.uint8).reshape(-1, *store.image_shape)
        found = np.array([known[image.tobytes()] for image in flat])
        return found[:, 0].reshape(images.shape[:-3]), found[:, 1].reshape(images.shape[:-3])

    return look_up


def arrays(dataset):
    return [tuple(tensor.numpy() for tensor in element) for element in dataset]


def assert_equal_elements(received, expected):
    assert len(received) == len(expected)
    for one, other in zip(received, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            assert_array_equal(a, b)


@pytest.mark.parametrize("rotations", [False, True], ids=["upright", "rotations"])
def test_episode_has_distinct_classes_and_disjoint_images(store, identify, rotations):
    for support, query in store.episodes(5, 2, 3, seed=3, episodes=20, rotations=rotations):
        support_rows, support_turns = identify(support.numpy())
        query_rows, query_turns = identify(query.numpy())
        found = np.concatenate([support_rows, query_rows], axis=1)
        turns = np.concatenate([support_turns, query_turns], axis=1)
        classes = store.labels[found] + N_CLASSES * turns
        assert np.all(classes == classes[:, :1])
        assert len(set(classes[:, 0])) == 5
        assert all(len(set(row)) == 5 for row in found)
        assert rotations or not turns.any()


@pytest.mark.parametrize("rotations", [False, True], ids=["upright", "rotations"])
def test_unlabelled_images_are_further_images_of_the_same_classes(store, identify, rotations):
    arguments = {"seed": 3, "episodes": 20, "rotations": rotations}
    elements = arrays(store.episodes(4, 1, 2, n_unlabelled=1, **arguments))
    for sets, without in zip(elements, arrays(store.episodes(4, 1, 2, **arguments)), strict=True):
        assert_equal_elements([sets[:2]], [without])
        assert [part.shape[:2] for part in sets] == [(4, 1), (4, 2), (4, 1), (4, 1)]
        rows, turns = identify(np.concatenate(sets, axis=1))
        classes = store.labels[rows] + N_CLASSES * turns
        assert np.all(classes == classes[:, :1])
        assert all(len(set(row)) == 5 for row in rows)


@pytest.mark.parametrize("n_unlabelled", [0, 1])
def test_tasks_are_episodes_in_a_row(store, n_unlabelled):
    arguments = {"n_unlabelled": n_unlabelled, "seed": 4, "rotations": True}
    one_by_one = arrays(store.episodes(3, 1, 2, first=70, episodes=12, **arguments))
    dataset = store.episodes(3, 1, 2, tasks=4, first=70, episodes=12, **arguments)
    together = [
        tuple(np.stack(parts) for parts in zip(*one_by_one[i : i + 4], strict=True)) for i in (0, 4, 8)
    ]
    assert_equal_elements(arrays(dataset), together)
    assert [spec.shape.as_list()[:3] for spec in dataset.element_spec][:2] == [[4, 3, 1], [4, 3, 2]]
    assert dataset.cardinality() == 3


def test_rotations_make_four_classes_of_each(store, identify):
    elements = arrays(store.episodes(4 * N_CLASSES, 1, 0, episodes=1, rotations=True))
    rows, turns = identify(elements[0][0])
    pairs = set(zip(store.labels[rows[:, 0]].tolist(), turns[:, 0].tolist(), strict=True))
    assert pairs == {(c, t) for c in range(N_CLASSES) for t in range(4)}


def test_elements_are_the_samplers_episodes(store):
    elements = arrays(store.episodes(3, 1, 2, seed=9, first=5, episodes=70))
    for i, (support, query) in enumerate(elements):
        (table,) = kernels.sample_episodes(store.labels, 3, 1, 2, 1, 9, first_episode=5 + i)
        expected = kernels.gather_images(store.images, table)
        assert_array_equal(support, expected[:, :1])
        assert_array_equal(query, expected[:, 1:])


def test_values_are_bytes_over_255(store):
    ((support, _),) = arrays(store.episodes(N_CLASSES, PER_CLASS, 0, episodes=1))
    assert support.dtype == np.float32
    # One rounding of 1/255 and one of the product.
    expected = np.sort(store.images.ravel()) / 255
    np.testing.assert_allclose(np.sort(support.ravel()), expected, rtol=2 * 2.0**-23)


@pytest.mark.parametrize("first", [7, 64, 100])
@pytest.mark.parametrize("rotations", [False, True], ids=["upright", "rotations"])
def test_resuming_is_exact(store, first, rotations):
    whole = arrays(store.episodes(3, 1, 1, seed=4, episodes=140, rotations=rotations))
    rest = arrays(store.episodes(3, 1, 1, seed=4, first=first, episodes=140 - first, rotations=rotations))
    assert_equal_elements(rest, whole[first:])


def test_resuming_batches_is_exact(store):
    whole = arrays(store.pk_batches(3, 2, seed=4, batches=70, rotations=True))
    rest = arrays(store.pk_batches(3, 2, seed=4, first=7, batches=63, rotations=True))
    assert_equal_elements(rest, whole[7:])


def test_seed_decides(store):
    one, same, other = (arrays(store.episodes(3, 1, 1, seed=seed, episodes=8)) for seed in (1, 1, 2))
    assert_equal_elements(one, same)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(one, other, strict=True))


def test_dataset_tells_its_shapes_and_length(store):
    dataset = store.episodes(3, 1, 2, episodes=100)
    assert dataset.element_spec == (
        tf.TensorSpec([3, 1, 4, 4, 2], tf.float32),
        tf.TensorSpec([3, 2, 4, 4, 2], tf.float32),
    )
    assert dataset.cardinality() == 100
    assert store.episodes(3, 1, 2).cardinality() == tf.data.INFINITE_CARDINALITY
    batches = store.pk_batches(3, 2, batches=5)
    assert batches.element_spec == (tf.TensorSpec([6, 4, 4, 2], tf.float32), tf.TensorSpec([6], tf.int32))
    assert batches.cardinality() == 5


@pytest.mark.parametrize("rotations", [False, True], ids=["upright", "rotations"])
def test_batches_hold_samples_of_each_class_in_a_row(store, identify, rotations):
    for images, labels in store.pk_batches(4, 3, seed=2, batches=20, rotations=rotations):
        rows, turns = identify(images.numpy())
        assert_array_equal(labels, store.labels[rows] + N_CLASSES * turns)
        by_class = labels.numpy().reshape(4, 3)
        assert np.all(by_class == by_class[:, :1])
        assert len(set(by_class[:, 0])) == 4
        assert len(set(zip(rows.tolist(), turns.tolist(), strict=True))) == 12


def test_datasets_share_one_tensor_of_images():
    store = ImageStore(np.zeros((4, 512, 512, 1), np.uint8), [0, 0, 1, 1])  # 1 MiB
    assert store.image_tensor is store.image_tensor
    assert "CPU" in store.image_tensor.device
    dataset = store.episodes(2, 1, 1)
    while dataset._inputs():
        assert dataset._functions() == [], "an element costs a call of a graph"
        (dataset,) = dataset._inputs()


def test_datasets_can_be_made_inside_a_graph(store):
    @tf.function
    def total():
        return store.episodes(3, 1, 1, seed=1, episodes=4).reduce(
            0.0, lambda sum, xy: sum + tf.reduce_sum(xy[0])
        )

    assert total() > 0


UNEVEN = ImageStore.from_arrays(np.zeros((12, 4, 4, 1), np.uint8), list("aaaabbbccddd"), name="pets")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"n_way": 5}, r"n_way must be at most 4, .*'pets'.* received n_way=5", id="n_way"),
        pytest.param(
            {"n_way": 17, "rotations": True},
            "at most 16, .* in 4 rotations, received n_way=17",
            id="n_way turned",
        ),
        pytest.param(
            {"k_shot": 2, "n_query": 2},
            r"k_shot \+ n_query = 4: class 'c' of .* has 2; 3 of 4 classes .*with_min_images\(4\)",
            id="small classes",
        ),
        pytest.param(
            {"n_way": 0}, "n_way must be an integer of 1 or more, received n_way=0", id="no classes"
        ),
        pytest.param({"k_shot": 0}, "received k_shot=0", id="no support"),
        pytest.param({"n_query": -1}, "n_query must be an integer of 0 or more", id="negative query"),
        pytest.param({"k_shot": 1.0}, "received k_shot=1.0", id="float"),
        pytest.param({"seed": -1}, "received seed=-1", id="seed"),
        pytest.param({"first": -1}, "received first=-1", id="first"),
        pytest.param({"episodes": 0}, "received episodes=0", id="no episodes"),
        pytest.param({"episodes": True}, "received episodes=True", id="bool"),
        pytest.param({"n_unlabelled": -1}, "received n_unlabelled=-1", id="negative unlabelled"),
        pytest.param(
            {"n_unlabelled": 1},
            r"k_shot \+ n_query \+ 2 \* n_unlabelled = 4: class 'c' of .* has 2",
            id="too few for unlabelled",
        ),
        pytest.param({"tasks": 0}, "tasks must be an integer of 1 or more, received tasks=0", id="tasks"),
        pytest.param(
            {"tasks": 2, "episodes": 3}, "multiple of tasks = 2, received episodes=3", id="part of an element"
        ),
    ],
)
def test_episodes_reject_at_once(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        UNEVEN.episodes(**{"n_way": 2, "k_shot": 1, "n_query": 1, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"classes": 5}, "classes must be at most 4, .* received classes=5", id="classes"),
        pytest.param({"samples": 3}, "samples = 3: class 'c' of .* has 2; 1 of 4", id="samples"),
        pytest.param({"first": -1}, "received first=-1", id="first"),
        pytest.param({"batches": 0}, "received batches=0", id="no batches"),
    ],
)
def test_batches_reject_at_once(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        UNEVEN.pk_batches(**{"classes": 2, "samples": 2, **arguments})


def test_remedy_named_by_the_error_works():
    large = UNEVEN.with_min_images(4)
    assert len(arrays(large.episodes(1, 2, 2, episodes=3))) == 3


def test_rotations_need_square_images():
    flat = ImageStore(np.zeros((4, 2, 3, 1), np.uint8), [0, 0, 1, 1])
    with pytest.raises(ArgumentError, match=r"rotations must be False for .* not square, received 2x3"):
        flat.episodes(2, 1, 1, rotations=True)
    assert len(arrays(flat.episodes(2, 1, 1, episodes=2))) == 2


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param([7, 3, 7, 5], id="integers"),
        pytest.param([[7], [3], [7], [5]], id="column"),
        pytest.param(["g", "c", "g", "e"], id="strings"),
    ],
)
def test_get_dummies(labels):
    one_hot, classes = get_dummies(labels)
    assert_array_equal(one_hot, [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert one_hot.dtype == tf.float32
    assert_array_equal(classes, tf.reshape(labels, [-1]).numpy()[[0, 1, 3]])


def test_get_dummies_in_a_dataset():
    batches = tf.data.Dataset.from_tensor_slices([4, 4, 9, 1]).batch(2).map(lambda y: get_dummies(y)[0])
    assert [batch.shape.as_list() for batch in batches] == [[2, 1], [2, 2]]


@pytest.mark.parametrize(
    "make",
    [
        lambda store: store.episodes(2, 1, 1),
        lambda store: store.pk_batches(2, 2),
        lambda store: store.minibatches(2, 2, tasks=1, steps=1, batch=2),
    ],
    ids=["episodes", "pk_batches", "minibatches"],
)
def test_datasets_go_without_the_autotuner(store, make):
    assert make(store).options().autotune.enabled is False
