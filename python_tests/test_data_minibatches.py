# SPDX-License-Identifier: MIT
"""Tasks cut into shuffled mini-batches."""

import numpy as np
import pytest

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore

CLASSES, SAMPLES, SIZE = 6, 5, 3


@pytest.fixture(scope="module")
def store() -> ImageStore:
    """The first pixel of an image is its row number, and the last is bright."""
    images = np.zeros((CLASSES * SAMPLES, SIZE, SIZE, 1), np.uint8)
    labels = np.repeat(np.arange(CLASSES), SAMPLES)
    images[:, 0, 0, 0], images[:, 2, 2, 0] = np.arange(len(images)), 255
    return ImageStore.from_arrays(images, labels, name="numbered")


def elements(dataset, count):
    return [tuple(part.numpy() for part in element) for element in dataset.take(count)]


def test_a_task_holds_the_images_of_its_episode_under_its_labels(store):
    tasks, n_way, k_shot = 2, 3, 4
    drawn = elements(store.minibatches(n_way, k_shot, tasks=tasks, steps=3, batch=4, seed=9, first=1), 2)
    episodes = elements(store.episodes(n_way, k_shot, 0, seed=9, first=tasks), 4)
    for i, (images, labels) in enumerate(drawn):
        assert images.shape == (tasks, 3, 4, SIZE, SIZE, 1)
        assert labels.shape == (tasks, 3, 4)
        for task in range(tasks):
            support = episodes[tasks * i + task][0]
            numbers = np.rint(images[task, ..., 0, 0, 0].ravel() * 255)
            expected = np.rint(support[..., 0, 0, 0] * 255)
            assert sorted(numbers) == sorted(expected.ravel())
            for number, label in zip(numbers, labels[task].ravel(), strict=True):
                assert number in expected[label]


def test_a_class_keeps_its_turn_through_all_mini_batches(store):
    corners = [(2, 2), (0, 2), (0, 0), (2, 0)]  # of the bright pixel after 0 to 3 quarter turns
    images, labels = next(iter(store.minibatches(4, 3, tasks=3, steps=4, batch=3, rotations=True)))
    seen = set()
    for task in range(3):
        for label in range(4):
            chosen = images[task].numpy()[labels[task].numpy() == label][..., 0]
            turns = {max(range(4), key=lambda t, image=image: image[corners[t]]) for image in chosen}
            assert len(turns) == 1
            seen |= turns
    assert len(seen) > 1


def test_a_dataset_can_begin_anywhere(store):
    options = {"tasks": 2, "steps": 2, "batch": 5, "seed": 4, "rotations": True}
    whole = elements(store.minibatches(3, 2, **options), 70)
    for first in (1, 64, 69):
        (images, labels), *_ = elements(store.minibatches(3, 2, first=first, **options), 1)
        np.testing.assert_array_equal(images, whole[first][0])
        np.testing.assert_array_equal(labels, whole[first][1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"k_shot": 0}, "k_shot must be an integer of 1 or more, received k_shot=0"),
        ({"k_shot": 6}, "k_shot must be at most the number of images of each class"),
        ({"n_way": 7}, "n_way must be at most 6"),
        ({"tasks": 0}, "tasks must be an integer of 1 or more"),
        ({"steps": 2.5}, "steps must be an integer of 1 or more, received steps=2.5"),
        ({"batch": -1}, "batch must be an integer of 1 or more"),
        ({"first": -1}, "first must be an integer of 0 or more"),
        ({"seed": -1}, "seed must be an integer of 0 or more"),
    ],
    ids=str,
)
def test_bad_sizes_are_refused_before_anything_is_drawn(store, changed, message):
    options = {"n_way": 3, "k_shot": 2, "tasks": 1, "steps": 1, "batch": 2} | changed
    with pytest.raises(ArgumentError, match=message):
        store.minibatches(**options)
