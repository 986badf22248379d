# SPDX-License-Identifier: MIT
"""`omniglot`: 1,623 handwritten letters of 50 alphabets, 20 drawings each, by way of TensorFlow Datasets.

Lake, Salakhutdinov, Tenenbaum: Human-level concept learning through probabilistic program induction,
Science 2015.
"""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from fslcore.data import cache
from fslcore.data.progress import progress
from fslcore.data.store import ImageStore

_RECIPE = 1  # raise it whenever the images change
_SPLITS = ("train", "test")  # "small1" and "small2" repeat images of "train"
_SOURCE = "https://github.com/brendenlake/omniglot"
_BATCH = 256


def load(
    *,
    image_size: int = 28,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> ImageStore:
    """Omniglot as one store: both TFDS splits, 32,460 images.

    Args:
        image_size: Height and width of the images in pixels; the originals have 105.
        data_dir: TFDS data folder; the environment variable TFDS_DATA_DIR, then ~/tensorflow_datasets if
            None.
        cache_dir: Folder of the cache; see `fslcore.data.cache.directory`.

    Returns:
        A store of ink 255 on background 0 (the originals are black on white), one channel, resized by area
        averaging; classes in the order of TFDS, groups are the 50 alphabets. While the cached copy is valid,
        TensorFlow Datasets is not imported, and if the data folder has gone since, the cached copy is used.

    Raises:
        FileNotFoundError: the dataset is not in the data folder and cannot be downloaded.
        RuntimeError: the files in the data folder cannot be read.
    """
    folder = (
        Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser().resolve()
    )
    key = f"omniglot-{image_size}-r{_RECIPE}-{cache.digest(str(folder))}"
    source = _source(folder)
    if source is None:
        store = cache.read(cache.directory(cache_dir) / f"{key}.store")
        if store is not None:
            return store
        _prepare(folder)
        source = _source(folder)
    return cache.load_or_build(key, source, lambda: _build(folder, image_size), cache_dir)


def _source(folder: Path) -> str | None:
    """Fingerprint of the prepared files, None if there are none."""
    files = [path for split in _SPLITS for path in sorted(folder.glob(f"omniglot/*/omniglot-{split}.*"))]
    return cache.file_fingerprint(files) if files else None


def _prepare(folder: Path) -> None:
    try:
        # Without a network TFDS retries for over three minutes before it gives up; this asks once.
        urllib.request.urlopen(_SOURCE, timeout=10).close()
        import tensorflow_datasets as tfds

        tfds.builder("omniglot", data_dir=folder).download_and_prepare()
    except Exception as error:  # whatever the network, the disk or the archive did
        raise FileNotFoundError(
            f"data_dir must be a TFDS data folder with omniglot, or one into which it can be downloaded, "
            f"received {folder}, where it is not prepared, and the download failed: {error}. Set data_dir or "
            "TFDS_DATA_DIR to a folder with omniglot/; the dataset 'glyphs' needs no download"
        ) from error


def _build(folder: Path, image_size: int) -> ImageStore:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    # TFDS decodes to three equal channels, one image at a time; one channel and resizing by the batch is
    # faster.
    def decode(example: dict[str, Any]) -> tuple[Any, ...]:
        image = tf.ensure_shape(tf.io.decode_png(example["image"], channels=1), [105, 105, 1])
        return image, example["label"], example["alphabet"]

    def shrink(images: Any, labels: Any, alphabets: Any) -> tuple[Any, ...]:
        small = tf.image.resize(images, [image_size, image_size], method="area")
        return tf.cast(tf.round(255.0 - small), tf.uint8), labels, alphabets

    builder = tfds.builder("omniglot", data_dir=folder)
    batches = (
        builder.as_dataset(
            split="+".join(_SPLITS), decoders={"image": tfds.decode.SkipDecoding()}, shuffle_files=False
        )
        .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(_BATCH)
        .map(shrink, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
        .as_numpy_iterator()
    )
    total = sum(builder.info.splits[split].num_examples for split in _SPLITS)
    try:
        parts = list(progress(batches, "reading omniglot", -(-total // _BATCH)))
    except tf.errors.OpError as error:
        raise RuntimeError(
            f"omniglot in {folder} cannot be read: {error.message}. "
            f"Delete {builder.data_dir} and prepare it again"
        ) from error
    images, labels, alphabets = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(labels, kind="stable")
    return ImageStore(
        images[order],
        labels[order],
        alphabets[order],
        builder.info.features["label"].names,
        builder.info.features["alphabet"].names,
        "omniglot",
    )
