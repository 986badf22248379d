# SPDX-License-Identifier: MIT
"""Tasks cut into shuffled mini-batches."""

import numpy as np
import pytest

from fslcore.data import ImageStore
from fslcore.data.pipelines import minibatch_order, minibatches

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


@pytest.mark.parametrize(
    ("n_images", "steps", "batch"), [(6, 3, 2), (5, 4, 3), (4, 1, 9), (1, 2, 3)], ids=str
)
def test_an_order_deals_out_every_image_before_any_comes_again(n_images, steps, batch):
    for row in minibatch_order(n_images, steps, batch, seed=3, count=20).numpy():
        assert row.shape == (steps, batch)
        flat = row.ravel()
        for start in range(0, flat.size, n_images):
            shuffled = flat[start : start + n_images]
            assert len(set(shuffled)) == len(shuffled)
            assert set(shuffled) <= set(range(n_images))


def test_an_order_is_a_function_of_seed_and_number():
    whole = minibatch_order(6, 3, 4, seed=1, count=8).numpy()
    np.testing.assert_array_equal(minibatch_order(6, 3, 4, seed=1, first=5, count=3), whole[5:])
    assert not np.array_equal(minibatch_order(6, 3, 4, seed=2, count=8), whole)
    assert len({row.tobytes() for row in whole}) == 8


def test_every_order_is_equally_likely():
    """All 24 orders of 4 images in 2,400 draws: chi-square with 23 degrees is below 60 but once in 40,000."""
    rows = minibatch_order(4, 1, 4, seed=0, count=2400).numpy().reshape(-1, 4)
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == 24
    assert np.sum((counts - 100.0) ** 2 / 100.0) < 60


def test_a_task_holds_the_images_of_its_episode_under_its_labels(store):
    tasks, n_way, k_shot = 2, 3, 4
    drawn = elements(minibatches(store, n_way, k_shot, tasks=tasks, steps=3, batch=4, seed=9, first=1), 2)
    episodes = elements(store.episodes(n_way, k_shot, 0, seed=9, first_episode=tasks), 4)
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
    images, labels = next(iter(minibatches(store, 4, 3, tasks=3, steps=4, batch=3, rotations=True)))
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
    whole = elements(minibatches(store, 3, 2, **options), 70)
    for first in (1, 64, 69):
        (images, labels), *_ = elements(minibatches(store, 3, 2, first=first, **options), 1)
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
    with pytest.raises(ValueError, match=message):
        minibatches(store, **options)
