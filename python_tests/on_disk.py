# SPDX-License-Identifier: MIT
"""What the tests of stores on the disk share: small blocks, a store in memory, and the same on the disk."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fslcore.data import ImageStore, cache, image_file, views

KINDS = pytest.mark.parametrize("kind", ["mapped", "jpeg"])
FILES = {"memory": "toy.images", "mapped": "toy.images", "jpeg": "toy.jpeg"}
N_CLASSES, SAMPLES, SHAPE = 12, 8, (16, 16, 3)
LABELS = np.repeat(np.arange(N_CLASSES, dtype=np.int32), SAMPLES)


def use_small_blocks(monkeypatch):
    """Several blocks of a few images, and the system is told of memory maps of any size."""
    monkeypatch.setattr(image_file, "_BLOCK_BYTES", 10 * 16 * 16 * 3)
    monkeypatch.setattr(views, "_RESIDENT_BYTES", 1)
    monkeypatch.setattr(views, "_IMAGES_BETWEEN", 1)
    monkeypatch.setattr(views, "_SHARE_OF_FREE", 0.0)


def store_in_memory():
    """Smooth images, which JPEG keeps well."""
    corners = np.random.default_rng(0).integers(0, 256, (len(LABELS), 3, 3, 3)).astype(np.uint8)
    images = np.stack([np.asarray(Image.fromarray(c).resize(SHAPE[:2], Image.BICUBIC)) for c in corners])
    groups = (LABELS // 4).astype(np.int32)
    parts = (LABELS % 2).astype(np.int32)
    names = [f"class {i}" for i in range(N_CLASSES)]
    return ImageStore(images, LABELS, groups, names, ["a", "b", "c"], "toy", parts, ["train", "test"])


def stored(memory, kind, folder):
    return cache.load_or_build("toy", "source", lambda: memory, folder, storage=kind)


def never(*_):
    raise AssertionError("built although it was in the cache")


def assert_near(received, expected, kind):
    """Equal, or for JPEG as near as its quality says."""
    received, expected = np.asarray(received, np.float64), np.asarray(expected, np.float64)
    scale = 1 if received.max() > 1 else 255
    assert np.abs(received - expected).max() * scale <= (0 if kind == "mapped" else 12)
