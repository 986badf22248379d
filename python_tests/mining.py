# SPDX-License-Identifier: MIT
"""The rules of mining triplets, through any backend or module; `parametrize("mining", MININGS)`."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
from numpy.typing import ArrayLike, NDArray

from fslcore.arguments import MININGS, PAIR_MININGS

METRICS = ("sqeuclidean", "euclidean", "cosine")


def mine(backend: Any, mining: str, x: Any, labels: Any, *args: Any) -> Any:
    """mine_triplets, the rule first."""
    return backend.mine_triplets(x, labels, mining, *args)


def triplet_loss(backend: Any, mining: str, x: Any, labels: Any, *args: Any) -> Any:
    """triplet_loss, the rule first."""
    return backend.triplet_loss(x, labels, mining, *args)


def of_rule(mining: str, *, pairs: Any, anchors: Any) -> Any:
    """`pairs` for a rule with a triplet for every (anchor, positive) pair, `anchors` for the others."""
    return pairs if mining in PAIR_MININGS else anchors


def random_labels(seed: int, batch: int, classes: int) -> NDArray[np.int32]:
    """int32 [batch], in no order."""
    return np.random.default_rng(seed).integers(0, classes, batch).astype(np.int32)


def shuffled_labels(*sizes: int) -> NDArray[np.int32]:
    """Classes of these sizes, int32 [batch], in no order."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)


# 3 * 2 + 3 * 2 + 2 + 2 = 16 pairs, and 8 anchors: the mean of integers over a power of two is exact.
SIXTEEN_PAIRS = shuffled_labels(3, 3, 2, 2, 1)
EIGHT_ANCHORS = shuffled_labels(4, 2, 2, 1, 1, 1)
OF_POWERS_OF_TWO = {mining: of_rule(mining, pairs=SIXTEEN_PAIRS, anchors=EIGHT_ANCHORS) for mining in MININGS}


def assert_mined_exactly(
    backend: Any, mining: str, x: ArrayLike, labels: ArrayLike, metric: str = "sqeuclidean"
) -> None:
    """The oracle's triplets in int32."""
    got, want = mine(backend, mining, x, labels, metric), mine(oracles, mining, x, labels, metric)
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_array_equal(part, wanted.astype(np.int32), strict=True)
