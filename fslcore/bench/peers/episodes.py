# SPDX-License-Identifier: MIT
"""Episodes with their images, drawn and delivered by NumPy and by plain TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.bench.comparison import Entry
from fslcore.bench.episode_problem import Array, Call, Shape, taken
from fslcore.data import ImageStore


def peer_entries(store: ImageStore, shape: Shape) -> dict[str, Entry]:
    """NumPy, and a pipeline of TensorFlow's own operations."""
    return {
        "NumPy, vectorised": Entry(_vectorised(store, shape)),
        "NumPy, loops": Entry(_loops(store, shape)),
        "TensorFlow, tf.data": Entry(_plain_pipeline(store, shape)),
    }


def _vectorised(store: ImageStore, shape: Shape) -> Call:
    generator = np.random.default_rng(0)
    samples_per_class = int(store.images_per_class.min())

    def call() -> Any:
        scores = generator.random((shape.episodes, store.n_classes))
        classes = scores.argpartition(shape.n_way, axis=1)[:, : shape.n_way]
        order = generator.random((shape.episodes, shape.n_way, samples_per_class)).argsort(axis=2)
        images = store.images[classes[:, :, None] * samples_per_class + order[:, :, : shape.samples]]
        turns = generator.integers(0, 4, (shape.episodes, shape.n_way))
        for turn in (1, 2, 3):
            images[turns == turn] = np.rot90(images[turns == turn], turn, axes=(2, 3))
        return images * np.float32(1 / 255)

    return call


def _loops(store: ImageStore, shape: Shape) -> Call:
    generator = np.random.default_rng(0)
    samples_per_class = int(store.images_per_class.min())

    def episode() -> Array:
        ways = []
        for label in generator.choice(store.n_classes, shape.n_way, replace=False):
            samples = generator.choice(samples_per_class, shape.samples, replace=False)
            images = store.images[samples + label * samples_per_class]
            ways.append(np.rot90(images, int(generator.integers(4)), axes=(1, 2)))
        return np.stack(ways) * np.float32(1 / 255)

    return lambda: [episode() for _ in range(shape.episodes)]


def _plain_pipeline(store: ImageStore, shape: Shape) -> Call:
    images = tf.constant(store.images)
    samples_per_class = int(store.images_per_class.min())

    def way(label: Any) -> Any:
        samples = tf.random.shuffle(tf.range(samples_per_class))[: shape.samples]
        picked = tf.gather(images, label * samples_per_class + samples)
        return tf.image.rot90(picked, tf.random.uniform([], 0, 4, tf.int32))

    def episode(_: Any) -> Any:
        labels = tf.random.shuffle(tf.range(store.n_classes))[: shape.n_way]
        ways = tf.cast(tf.map_fn(way, labels, fn_output_signature=tf.uint8), tf.float32) / 255.0
        return ways[:, : shape.k_shot], ways[:, shape.k_shot :]

    dataset = tf.data.Dataset.counter().map(episode, num_parallel_calls=tf.data.AUTOTUNE)
    return taken(iter(dataset.prefetch(tf.data.AUTOTUNE)), shape.episodes)
