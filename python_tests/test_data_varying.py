# SPDX-License-Identifier: MIT
"""Episodes whose way and shot vary: what they hold, that they repeat, and that a step is traced once."""

from __future__ import annotations

import keras
import numpy as np
import oracles
import pytest

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore

WAYS, SHOTS, N_QUERY = (2, 5), (1, 3), 2


@pytest.fixture(scope="module")
def store():
    images = np.arange(8 * 7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    return ImageStore.from_arrays(images, np.repeat(np.arange(8), 7), name="numbered")


def rows(images):
    return np.rint(255 * images.numpy()[..., 0, 0, 0]).astype(int)


def sizes(count, seed=3, first=0):
    """The way and the shot of each episode, by the oracle of the permutations."""

    def one(bounds, number):
        return bounds[0] + oracles.permutations(bounds[1] - bounds[0] + 1, 1, seed + 2**62, number)[0, 0]

    return [(one(WAYS, 2 * i), one(SHOTS, 2 * i + 1)) for i in range(first, first + count)]


def test_sizes_are_those_of_the_oracle_and_uniform():
    tiny = ImageStore(np.zeros((20, 1, 1, 1), np.uint8), np.arange(20) // 4)
    drawn = [s.shape[:2] for s, _ in tiny.episodes(WAYS, SHOTS, 0, seed=3, first=5, episodes=2400)]
    assert drawn[:20] == sizes(20, first=5)
    many = np.array(drawn)
    pairs = np.bincount((many[:, 0] - 2) * 3 + many[:, 1] - 1, minlength=12)
    assert len(pairs) == 12
    assert np.abs(pairs / 200 - 1).max() < 0.3  # 4.4 standard deviations


def test_episodes_have_the_sizes_drawn_and_distinct_images_of_distinct_classes(store):
    found = list(store.episodes(WAYS, SHOTS, N_QUERY, seed=3, episodes=40, rotations=True))
    assert [part.shape[:2] for part, _ in found] == sizes(40)
    first_classes = []
    for support, query in found:
        together = np.concatenate([rows(support), rows(query)], axis=1)
        assert query.shape[:2] == (len(support), N_QUERY)
        assert np.all(store.labels[together] == store.labels[together][:, :1])
        assert all(len(set(row)) == len(row) for row in together)
        first_classes.append(store.labels[together[0, 0]])
    assert len(set(first_classes)) == 8  # no class is last by its number


def test_queries_do_not_depend_on_the_shot_and_any_episode_can_be_first(store):
    found = list(store.episodes(4, SHOTS, N_QUERY, seed=3, episodes=70))
    largest = list(store.episodes(4, SHOTS[1], N_QUERY, seed=3, episodes=70))
    for (support, query), (whole, expected) in zip(found, largest, strict=True):
        np.testing.assert_array_equal(query, expected)
        np.testing.assert_array_equal(support, whole[:, : support.shape[1]])
    later = list(store.episodes(4, SHOTS, N_QUERY, seed=3, first=66, episodes=4))
    for one, other in zip(found[66:], later, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_a_pair_of_equal_numbers_is_that_number(store):
    found, expected = (next(iter(store.episodes(*s, 1, seed=1))) for s in [((3, 3), (2, 2)), (3, 2)])
    np.testing.assert_array_equal(found[0], expected[0])
    assert store.episodes((3, 3), 2, 1).element_spec[0].shape[:2] == (3, 2)
    spec = store.episodes((3, 4), 2, 1, n_unlabelled=1).element_spec
    assert [part.shape.as_list()[:2] for part in spec] == [[None, 2], [None, 1], [None, 1], [None, 1]]


def test_a_training_step_is_traced_once_for_all_sizes(store):
    traces = []

    class Traced(keras.layers.Layer):
        def call(self, images):
            traces.append(images.shape)
            return images

    encoder = keras.Sequential([keras.Input((4, 4, 1)), Traced(), keras.layers.Flatten()])
    encoder.add(keras.layers.Dense(3))
    learner = fsl.Prototypical(encoder)
    learner.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    before = len(traces)
    learner.fit(store.episodes(WAYS, SHOTS, N_QUERY), steps_per_epoch=12, epochs=3, shuffle=False, verbose=0)
    assert len(set(sizes(36, seed=0))) > 6
    assert len(traces) - before <= 2  # Keras looks at the metrics first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_way": (5, 2)}, "n_way must have the least number before the largest, received"),
        ({"n_way": (1, 2, 3)}, "n_way must be an integer or a pair"),
        ({"n_way": (2, 9)}, "n_way must be at most 8, the number of classes"),
        ({"k_shot": (0, 2)}, "k_shot must be an integer of 1 or more"),
        ({"k_shot": (1, 2.5)}, "k_shot must be an integer of 1 or more"),
        ({"k_shot": (1, 6)}, "k_shot . n_query must be at most the number of images of each class"),
        ({"k_shot": (1, 2), "tasks": 3}, "tasks must be None for episodes whose n_way or k_shot varies"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be_drawn(store, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        store.episodes(**{"n_way": 2, "k_shot": 1, "n_query": N_QUERY, **arguments})
