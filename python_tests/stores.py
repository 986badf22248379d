# SPDX-License-Identifier: MIT
"""Image stores for tests that learn."""

import numpy as np

from fslcore.data import ImageStore


def pixel_store(samples: int, shape: tuple[int, int, int]) -> ImageStore:
    """Ten classes that are easy to tell apart: one bright pixel each, and a little noise."""
    images = np.random.default_rng(0).integers(0, 40, (10, samples, *shape), dtype=np.uint8)
    for c in range(10):
        images[c, :, c // 4, c % 4] += 200
    labels = np.repeat(np.arange(10), samples)
    return ImageStore.from_arrays(images.reshape(-1, *shape), labels, name="pixels")
