# SPDX-License-Identifier: MIT
"""Episodes with their images delivered: the kernels, the tf.data pipelines, NumPy; from memory and disk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fslcore.bench import storage
from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.episode_problem import Shape, our_entries
from fslcore.bench.peers.episodes import peer_entries
from fslcore.data import ImageStore

CLASSES, SAMPLES = 1623, 20  # the size of Omniglot


def cases(quick: bool) -> Iterator[Comparison]:
    """Float32 28 x 28 images, each class turned by a random quarter; then colour images on the disk."""
    store = random_store(50 if quick else CLASSES)
    for n_way, k_shot, n_query in [(5, 5, 15), (20, 1, 1)]:
        shape = Shape(n_way, k_shot, n_query, 4 if quick else 32)
        yield measure(
            f"episodes {n_way}-way {k_shot}-shot {n_query}-query with rotations, {shape.episodes} per call",
            entries(store, shape),
            work(store, shape),
            rounds=3 if quick else 25,
            unit_count=shape.episodes,
            unit="episodes",
        )
    yield storage.comparison(quick)


def entries(store: ImageStore, shape: Shape) -> dict[str, Entry]:
    """All contenders, ours first."""
    return our_entries(store, shape) | peer_entries(store, shape)


def work(store: ImageStore, shape: Shape) -> Work:
    """The bytes of the images that are written, float32; to read them, a quarter as many, is not counted."""
    return Work(4 * shape.images * int(np.prod(store.images.shape[1:])), "B")


def random_store(classes: int) -> ImageStore:
    """Noise in the format of Omniglot: 20 uint8 images of 28 x 28 x 1 per class."""
    images = np.random.default_rng(0).integers(0, 256, (classes * SAMPLES, 28, 28, 1)).astype(np.uint8)
    return ImageStore(
        images=images,
        labels=np.repeat(np.arange(classes, dtype=np.int32), SAMPLES),
        class_names=tuple(str(c) for c in range(classes)),
        name="random",
    )
