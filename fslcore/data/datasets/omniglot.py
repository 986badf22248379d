# SPDX-License-Identifier: MIT
"""`omniglot`: 1,623 handwritten letters of 50 alphabets, 20 drawings each, through TensorFlow Datasets.

Lake, Salakhutdinov, Tenenbaum: Human-level concept learning through probabilistic program induction,
Science 2015.
"""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import cache, image_file, memory
from fslcore.data.datasets.dataset import Dataset, Progress, Request, watched
from fslcore.data.store import ImageStore

_VERSION = 1  # in the file name of the cache: raise it whenever the images change
_SPLITS = ("train", "test")  # "small1" and "small2" repeat images of "train"
_SOURCE = "https://github.com/brendenlake/omniglot"
_BATCH = 256
# The usual split for few-shot learning: 1,200 classes for training (172 of them for validation), 423 for the
# test.
_TRAIN, _VAL, _TEST = 1028, 172, 423


def load(request: Request) -> ImageStore:
    """Omniglot as one store: both TFDS splits, 32,460 images.

    Args:
        request: The TFDS data folder (the environment variable TFDS_DATA_DIR, then ~/tensorflow_datasets if
            None), the size of the images (the originals have 105 pixels), the cache and the progress.

    Returns:
        A store of ink 255 on background 0 (the originals are black on white), one channel, resized by area
        averaging; classes in the order of TFDS, groups are the 50 alphabets. A valid cached copy is used
        without importing TensorFlow Datasets, even if the data folder no longer exists.

    Raises:
        FileNotFoundError: The dataset is not in the data folder and cannot be downloaded.
        RuntimeError: The files in the data folder cannot be read.
    """
    chosen = request.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = Path(chosen).expanduser().resolve()
    key = f"omniglot-{request.image_size}-r{_VERSION}-{cache.digest(str(folder))}"
    source = _source(folder)
    if source is None and image_file.read(cache.file_of(key, request.storage, request.cache_dir)) is None:
        _prepare(folder)
        source = _source(folder)
    return cache.load_or_build(
        key,
        source,
        lambda: _checked_build(folder, request.image_size, request.progress),
        request.cache_dir,
        storage=request.storage,
        progress=request.progress,
    )


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
    except Exception as error:  # network, disk and archive raise errors of many types
        raise FileNotFoundError(
            "data_dir must be a TFDS data folder with omniglot, or one into which it can be downloaded, "
            f"received {folder}, where it is not prepared, and the download failed: {error}. Set data_dir or "
            "TFDS_DATA_DIR to a folder with omniglot/; the dataset 'glyphs' needs no download"
        ) from error


def _checked_build(folder: Path, image_size: int, progress: Progress | None) -> ImageStore:
    try:
        return _build(folder, image_size, progress)
    except ArgumentError:  # of image_size
        raise
    except Exception as error:  # TFDS, JSON, protobuf and tf.data raise errors of many types
        message = " ".join((getattr(error, "message", None) or str(error) or repr(error)).split())
        place = folder / "omniglot"
        raise RuntimeError(
            f"omniglot in {folder} cannot be read: {message}. Delete {place} and prepare it again"
        ) from error


def _build(folder: Path, image_size: int, progress: Progress | None) -> ImageStore:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    # TFDS decodes to three equal channels, one image at a time. Decoding one channel and resizing whole
    # batches is faster.
    def decode(example: dict[str, Any]) -> tuple[Any, ...]:
        image = tf.ensure_shape(tf.io.decode_png(example["image"], channels=1), [105, 105, 1])
        return image, example["label"], example["alphabet"]

    def shrink(images: Any, labels: Any, alphabets: Any) -> tuple[Any, ...]:
        small = tf.image.resize(images, [image_size, image_size], method="area")
        return tf.cast(tf.round(255.0 - small), tf.uint8), labels, alphabets

    builder = tfds.builder("omniglot", data_dir=folder)
    total = sum(builder.info.splits[split].num_examples for split in _SPLITS)
    memory.check_fits(image_size, total, 1)
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
    parts = list(watched(batches, -(-total // _BATCH), "reading omniglot", progress))
    images, labels, alphabets = (np.concatenate(part) for part in zip(*parts, strict=True))
    names, group_names = (builder.info.features[feature].names for feature in ("label", "alphabet"))
    if len(images) != total:
        raise ValueError(f"{len(images)} of {total} images are there")
    if names[0] == "0" or group_names[0] == "0":  # what TFDS makes up without its lists of names
        raise ValueError("the names of the classes or of the alphabets are not there")
    order = np.argsort(labels, kind="stable")
    return ImageStore(
        images[order],
        labels[order],
        alphabets[order],
        names,
        group_names,
        "omniglot",
    )


def split(store: ImageStore) -> dict[str, ImageStore]:
    """The usual split, by class: 1,028 / 172 / 423 classes drawn from all alphabets with a fixed seed."""
    return store.split(train=_TRAIN, val=_VAL, test=_TEST)


DATASET = Dataset("omniglot", load, channels=(1,), grouped=True, split=split, has_data_dir=True)
