# SPDX-License-Identifier: MIT
"""Batches of images that Keras and torchvision read from a folder with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fslcore.bench.comparison import Entry
from fslcore.bench.episode_problem import Array, Shape
from fslcore.bench.peers.libraries import installed


def folder_entries(folder: Path, pixels: int, shape: Shape) -> dict[str, Entry]:
    """Each delivers batches of as many images as an episode has, drawn without regard to classes."""
    batch = shape.n_way * shape.samples
    entries = {"Keras, image_dataset_from_directory": Entry(_keras(folder, pixels, batch, shape.episodes))}
    if installed("torchvision"):
        entries["torchvision, ImageFolder"] = Entry(_torchvision(folder, batch, shape.episodes))
    return entries


def _keras(folder: Path, pixels: int, batch: int, count: int) -> Callable[[], list[Array]]:
    dataset = keras.utils.image_dataset_from_directory(
        folder, batch_size=batch, image_size=(pixels, pixels), seed=0, verbose=False
    )
    whole = dataset.repeat().filter(lambda images, _: len(images) == batch).prefetch(2)
    stream = iter(whole)
    return lambda: [next(stream)[0].numpy() * np.float32(1 / 255) for _ in range(count)]


def _torchvision(folder: Path, batch: int, count: int) -> Callable[[], list[Array]]:
    """With the loader's default of no worker processes: each would import TensorFlow."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    loader = DataLoader(
        datasets.ImageFolder(str(folder), transforms.ToTensor()), batch, shuffle=True, drop_last=True
    )

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    stream = batches()
    return lambda: [next(stream)[0].numpy() for _ in range(count)]
