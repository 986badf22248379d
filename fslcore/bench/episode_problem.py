# SPDX-License-Identifier: MIT
"""The episodes of a benchmark, delivered by our kernels and our pipeline.

Their images are float32, from 0 to 1, and each class is turned by a random quarter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.bench.comparison import Entry
from fslcore.data import ImageStore

Array = npt.NDArray[Any]
Call = Callable[[], list[Array]]


@dataclass(frozen=True)
class Shape:
    """What one call delivers: `episodes` arrays [n_way, k_shot + n_query, H, W, C], in a list or stacked."""

    n_way: int
    k_shot: int
    n_query: int
    episodes: int

    @property
    def samples(self) -> int:
        """Images of a class."""
        return self.k_shot + self.n_query

    @property
    def images(self) -> int:
        """Images of a call."""
        return self.episodes * self.n_way * self.samples


def our_entries(store: ImageStore, shape: Shape) -> dict[str, Entry]:
    """The NumPy kernels and the pipeline of the store."""
    return {
        "fslcore, NumPy": Entry(_kernels(store, shape)),
        "fslcore, tf.data": Entry(_our_pipeline(store, shape)),
        "fslcore, tf.data, all of a call in one element": Entry(_our_pipeline(store, shape, together=True)),
        "tf.data itself: two numbers an element": Entry(_numbers(shape)),
    }


def _kernels(store: ImageStore, shape: Shape) -> Call:
    count = len(store)
    turned = np.concatenate([store.labels + turn * store.n_classes for turn in range(4)])
    classes = kernels.group_labels(turned)

    def call() -> Any:
        drawn = kernels.sample_episodes(
            classes, shape.n_way, shape.k_shot, shape.n_query, shape.episodes, seed=0
        )
        return kernels.gather_images(store.images, drawn % count, drawn[:, :, 0] // count)

    return call


def _our_pipeline(store: ImageStore, shape: Shape, together: bool = False) -> Callable[[], list[Any]]:
    tasks, elements = (shape.episodes, 1) if together else (None, shape.episodes)
    episodes = store.episodes(shape.n_way, shape.k_shot, shape.n_query, tasks=tasks, seed=0, rotations=True)
    return taken(iter(episodes), elements)


def _numbers(shape: Shape) -> Callable[[], list[Any]]:
    """What an iteration costs in Python and in tf.data before there is any work: no pipeline is faster."""
    import tensorflow as tf

    from fslcore.data.sampling import untuned

    numbers = tf.data.Dataset.range(2**62)
    return taken(iter(untuned(tf.data.Dataset.zip(numbers, numbers))), shape.episodes)


def taken(stream: Any, elements: int) -> Callable[[], list[Any]]:
    """Takes so many elements and holds them; they stay tensors, as training takes them."""
    return lambda: [next(stream) for _ in range(elements)]
