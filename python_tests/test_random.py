# SPDX-License-Identifier: MIT
"""The streams of a seed: nobody moves a draw by accident, because published figures depend on them."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from fslcore import random
from fslcore.data import ImageStore


@pytest.mark.parametrize("stream", ["weights", "batches", "validation", "test", "noise"])
def test_these_streams_take_the_seed_itself(stream):
    assert [random.key(stream, seed) for seed in (0, 7, 2**40)] == [0, 7, 2**40]


@pytest.mark.parametrize("stream", ["order", "training noise"])
def test_these_streams_have_keys_beyond_any_seed(stream):
    assert [random.key(stream, seed) for seed in (0, 7)] == [2**62, 2**62 + 7]


def test_keys_need_no_tensorflow():
    program = (
        "import sys; from fslcore import random; random.key('order', 1); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def numbered():
    """24 images of 6 classes; no two bytes are equal."""
    images = np.arange(24 * 9, dtype=np.uint8).reshape(24, 3, 3, 1)
    return ImageStore(images, np.repeat(np.arange(6), 4), name="numbered")


def digest(elements):
    content = hashlib.blake2b(digest_size=8)
    for element in elements:
        for tensor in tf.nest.flatten(element):
            array = tensor.numpy()
            if array.dtype == np.float32:
                array = np.rint(255 * array).astype(np.uint8)  # the bytes of the store
            content.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return content.hexdigest()


# Computed before the streams had names. A digest that changes moves every published figure.
@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        pytest.param(
            lambda store: store.episodes(3, 1, 2, seed=7, episodes=5), "0c9995ae23b4dd8e", id="episodes"
        ),
        pytest.param(
            lambda store: store.episodes(3, 1, 2, seed=2**40 + 1, first=2**33, episodes=5),
            "c5f24190787a05cd",
            id="episodes, large numbers",
        ),
        pytest.param(
            lambda store: store.episodes(5, 1, 1, rotations=True, episodes=5),
            "f65a3943e2676583",
            id="episodes, rotations",
        ),
        pytest.param(
            lambda store: store.episodes(2, 1, 1, n_unlabelled=1, tasks=2, seed=3, first=6, episodes=6),
            "d16e1dfc72f31cf4",
            id="tasks with unlabelled images",
        ),
        pytest.param(
            lambda store: store.pk_batches(4, 2, seed=7, batches=5), "12fbebb165d449f8", id="P x K batches"
        ),
        pytest.param(
            lambda store: store.pk_batches(4, 2, seed=2**40 + 1, first=3, rotations=True, batches=5),
            "735f6f9c310fec52",
            id="P x K batches, rotations",
        ),
        pytest.param(
            lambda store: store.minibatches(3, 2, tasks=2, steps=3, batch=4, seed=5).take(3),
            "7eccf49430f1913a",
            id="mini-batches",
        ),
        pytest.param(
            lambda store: store.minibatches(
                3, 2, tasks=2, steps=3, batch=4, seed=5, first=9, rotations=True
            ).take(3),
            "5b28be701a741516",
            id="mini-batches, rotations",
        ),
        pytest.param(
            lambda _: [random.minibatch_order(6, 3, 4, seed=1, count=4)], "b58d9adeebf06e56", id="order"
        ),
        pytest.param(
            lambda _: [random.minibatch_order(5, 4, 3, seed=11, first=70, count=2)],
            "bef0f8c5cae0cc4f",
            id="order, later",
        ),
    ],
)
def test_draws_are_the_published_ones(numbered, draw, expected):
    assert digest(draw(numbered)) == expected


def test_order_in_full():
    rows = random.minibatch_order(5, 1, 5, seed=0, count=2)
    assert rows.numpy().tolist() == [[[0, 3, 4, 2, 1]], [[2, 3, 1, 0, 4]]]


def test_seeds_of_episodes():
    assert random.episode_seeds(5, 70, 2).numpy().tolist() == [[5, 70], [5, 71]]


@pytest.mark.parametrize(
    ("n_images", "steps", "batch"), [(6, 3, 2), (5, 4, 3), (4, 1, 9), (1, 2, 3)], ids=str
)
def test_an_order_deals_out_every_image_before_any_comes_again(n_images, steps, batch):
    for row in random.minibatch_order(n_images, steps, batch, seed=3, count=20).numpy():
        assert row.shape == (steps, batch)
        flat = row.ravel()
        for start in range(0, flat.size, n_images):
            shuffled = flat[start : start + n_images]
            assert len(set(shuffled)) == len(shuffled)
            assert set(shuffled) <= set(range(n_images))


def test_an_order_is_a_function_of_seed_and_number():
    whole = random.minibatch_order(6, 3, 4, seed=1, count=8).numpy()
    np.testing.assert_array_equal(random.minibatch_order(6, 3, 4, seed=1, first=5, count=3), whole[5:])
    assert not np.array_equal(random.minibatch_order(6, 3, 4, seed=2, count=8), whole)
    assert len({row.tobytes() for row in whole}) == 8


def test_every_order_is_equally_likely():
    """All 24 orders of 4 images in 2,400 draws: chi-square with 23 degrees is below 60 but once in 40,000."""
    rows = random.minibatch_order(4, 1, 4, seed=0, count=2400).numpy().reshape(-1, 4)
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == 24
    assert np.sum((counts - 100.0) ** 2 / 100.0) < 60
