# SPDX-License-Identifier: MIT
"""The two ways of mining triplets, through any backend or module; `parametrize("mining", MINING)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
from numpy.typing import ArrayLike, NDArray

MINING = ("semihard", "hard")
METRICS = ("sqeuclidean", "euclidean", "cosine")


def mine(backend: Any, mining: str, *args: Any) -> Any:
    """mine_semihard or mine_hard."""
    return getattr(backend, f"mine_{mining}")(*args)


def triplet_loss(backend: Any, mining: str, *args: Any) -> Any:
    """triplet_semihard or triplet_hard."""
    return getattr(backend, f"triplet_{mining}")(*args)


def random_labels(seed: int, batch: int, classes: int) -> NDArray[np.int32]:
    """int32 [batch], in no order."""
    return np.random.default_rng(seed).integers(0, classes, batch).astype(np.int32)


def shuffled_labels(*sizes: int) -> NDArray[np.int32]:
    """Classes of these sizes, int32 [batch], in no order."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)


# 3 * 2 + 3 * 2 + 2 + 2 = 16 pairs, and 8 anchors: the mean of integers over a power of two is exact.
SIXTEEN_PAIRS = shuffled_labels(3, 3, 2, 2, 1)
EIGHT_ANCHORS = shuffled_labels(4, 2, 2, 1, 1, 1)


def assert_mined_exactly(
    backend: Any, mining: str, x: ArrayLike, labels: ArrayLike, metric: str = "sqeuclidean"
) -> None:
    """The oracle's triplets in int32."""
    got, want = mine(backend, mining, x, labels, metric), mine(oracles, mining, x, labels, metric)
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_array_equal(part, wanted.astype(np.int32), strict=True)
