# SPDX-License-Identifier: MIT
"""Seeded inputs, and the sizes at which kernels go wrong: 0, 1, and around every vector and tile width."""

import numpy as np
from numpy.typing import NDArray

SIZES = (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 257)


def integers(seed: int, *shape: int) -> NDArray[np.float32]:
    """Integers up to 8 in size: every partial sum of every metric is exact in float32, in any order.

    A squared difference is at most 16^2, so 2^24 / 2^8 = 65,536 of them can be added up.
    """
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)


def signs(seed: int, *shape: int) -> NDArray[np.float32]:
    """Rows of -1 and 1: with 4^k of them a row's length is 2^k, so that even cosines are exact."""
    return np.random.default_rng(seed).choice(np.float32([-1, 1]), shape)


def normal(seed: int, *shape: int) -> NDArray[np.float32]:
    """Standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
