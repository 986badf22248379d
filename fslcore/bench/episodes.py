# SPDX-License-Identifier: MIT
"""Episodes with their images delivered: the kernels, the tf.data pipeline, and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fslcore import kernels
from fslcore.bench import Comparison
from fslcore.bench.timing import compare
from fslcore.data import ImageStore

CLASSES, SAMPLES = 1623, 20  # the size of Omniglot


def cases(quick: bool) -> Iterator[Comparison]:
    """Float32 28 x 28 images, each class turned by a random quarter."""
    store = random_store(50 if quick else CLASSES)
    for n_way, k_shot, n_query in [(5, 5, 15), (20, 1, 1)]:
        episodes = 4 if quick else 32
        shape = (n_way, k_shot, n_query)
        yield Comparison(
            f"episodes {n_way}-way {k_shot}-shot {n_query}-query with rotations, {episodes} per call",
            compare(
                {
                    "fslcore, NumPy": _kernels(store, *shape, episodes),
                    "fslcore, tf.data": _pipeline(store, *shape, episodes),
                    "NumPy, vectorised": _vectorised(store, *shape, episodes),
                    "NumPy, loops": _loops(store, *shape, episodes),
                },
                rounds=5 if quick else 25,
            ),
            episodes,
            "episodes",
        )


def random_store(classes: int) -> ImageStore:
    """Noise in the format of Omniglot: 20 uint8 images of 28 x 28 x 1 per class."""
    images = np.random.default_rng(0).integers(0, 256, (classes * SAMPLES, 28, 28, 1)).astype(np.uint8)
    names = tuple(str(c) for c in range(classes))
    return ImageStore(
        images=images,
        labels=np.repeat(np.arange(classes, dtype=np.int32), SAMPLES),
        class_names=names,
        name="random",
    )


def _kernels(store: ImageStore, n_way: int, k_shot: int, n_query: int, episodes: int) -> Callable[[], Any]:
    count = len(store)
    turned = np.concatenate([store.labels + turn * store.n_classes for turn in range(4)])

    def call() -> Any:
        drawn = kernels.sample_episodes(turned, n_way, k_shot, n_query, episodes, seed=0)
        return kernels.gather_images(store.images, drawn % count, drawn[:, :, 0] // count)

    return call


def _pipeline(store: ImageStore, n_way: int, k_shot: int, n_query: int, episodes: int) -> Callable[[], Any]:
    stream = iter(store.episodes(n_way, k_shot, n_query, seed=0, rotations=True))

    def call() -> None:
        for _ in range(episodes):
            next(stream)

    return call


def _vectorised(store: ImageStore, n_way: int, k_shot: int, n_query: int, episodes: int) -> Callable[[], Any]:
    generator = np.random.default_rng(0)
    samples = k_shot + n_query

    def call() -> Any:
        classes = generator.random((episodes, store.n_classes)).argpartition(n_way, axis=1)[:, :n_way]
        members = generator.random((episodes, n_way, SAMPLES)).argsort(axis=2)[:, :, :samples]
        images = store.images[classes[:, :, None] * SAMPLES + members]
        turns = generator.integers(0, 4, (episodes, n_way))
        for turn in (1, 2, 3):
            images[turns == turn] = np.rot90(images[turns == turn], turn, axes=(2, 3))
        return images * np.float32(1 / 255)

    return call


def _loops(store: ImageStore, n_way: int, k_shot: int, n_query: int, episodes: int) -> Callable[[], Any]:
    generator = np.random.default_rng(0)

    def episode() -> Any:
        ways = []
        for label in generator.choice(store.n_classes, n_way, replace=False):
            picked = generator.choice(SAMPLES, k_shot + n_query, replace=False) + label * SAMPLES
            ways.append(np.rot90(store.images[picked], int(generator.integers(4)), axes=(1, 2)))
        return np.stack(ways) * np.float32(1 / 255)

    def call() -> None:
        for _ in range(episodes):
            episode()

    return call
