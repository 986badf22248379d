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


def _our_pipeline(store: ImageStore, shape: Shape) -> Callable[[], list[tuple[Array, ...]]]:
    stream = iter(store.episodes(shape.n_way, shape.k_shot, shape.n_query, seed=0, rotations=True))

    def call() -> list[tuple[Array, ...]]:
        drawn = [next(stream) for _ in range(shape.episodes)]
        return [tuple(part.numpy() for part in episode) for episode in drawn]

    return call
