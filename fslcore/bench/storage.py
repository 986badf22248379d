# SPDX-License-Identifier: MIT
"""Episodes of colour images that are kept in memory, in a memory map or as JPEG, and folders read anew."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.episode_problem import Shape, taken
from fslcore.bench.peers.folders import folder_entries
from fslcore.data import ImageStore, cache

PIXELS, SAMPLES = 64, 20
STORAGES = cache.STORAGES


def comparison(quick: bool) -> Comparison:
    """Float32 images of 64 x 64 x 3 from 0 to 1; the peers deliver as many images, but no episodes."""
    classes, shape = (8, Shape(5, 5, 15, 2)) if quick else (200, Shape(5, 5, 15, 8))
    with tempfile.TemporaryDirectory(prefix="fslcore-bench-") as folder:
        photographs = write_photographs(Path(folder) / "photographs", classes)
        entries = our_entries(photographs, Path(folder), shape) | folder_entries(
            Path(folder) / "photographs", PIXELS, shape
        )
        return measure(
            f"{shape.n_way}-way {shape.k_shot}-shot {shape.n_query}-query episodes of {PIXELS}x{PIXELS}x3 "
            f"images, {len(photographs):,} of them, {shape.episodes} episodes per call",
            entries,
            Work(4 * shape.images * PIXELS**2 * 3, "B"),
            rounds=3 if quick else 15,
            unit_count=shape.episodes,
            unit="episodes",
        )


def our_entries(store: ImageStore, folder: Path, shape: Shape) -> dict[str, Entry]:
    """The pipeline of the same images, kept in each way."""
    stored = {
        kind: cache.load_or_build("photographs", None, lambda: store, folder / "cache", storage=kind)
        for kind in STORAGES
    }
    return {f"fslcore, {kind}": Entry(_pipeline(each, shape)) for kind, each in stored.items()}


def write_photographs(folder: Path, classes: int) -> ImageStore:
    """Smooth colours and some noise, as JPEG files in a folder per class; returns them decoded."""
    generator = np.random.default_rng(0)
    images = np.empty((classes * SAMPLES, PIXELS, PIXELS, 3), np.uint8)
    for i in range(len(images)):
        colours = Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8))
        smooth = np.asarray(colours.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC), np.int16)
        noisy = smooth + generator.integers(-6, 7, smooth.shape, np.int16)
        path = folder / f"class {i // SAMPLES:03}" / f"{i % SAMPLES:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path, quality=90)
        with Image.open(path) as image:
            images[i] = np.asarray(image)
    return ImageStore(images, np.repeat(np.arange(classes, dtype=np.int32), SAMPLES), name="photographs")


def _pipeline(store: ImageStore, shape: Shape) -> Callable[[], list[Any]]:
    return taken(iter(store.episodes(shape.n_way, shape.k_shot, shape.n_query, seed=0)), shape.episodes)
