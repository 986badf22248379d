# SPDX-License-Identifier: MIT
"""Image stores of noise, for tests of sizes."""

from __future__ import annotations

import numpy as np

from fslcore.data import ImageStore


def noise(n_classes: int, images: int, size: int = 4, channels: int = 1) -> ImageStore:
    shape = (n_classes * images, size, size, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return ImageStore.from_arrays(pixels, np.repeat(np.arange(n_classes), images), name="noise")


def noise_parts(n_classes: int = 8, images: int = 6, **shape: int) -> dict[str, ImageStore]:
    return dict.fromkeys(("train", "val", "test"), noise(n_classes, images, **shape))
