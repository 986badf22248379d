# SPDX-License-Identifier: MIT
"""`load` and `default_split`: any dataset, in the same way."""

from __future__ import annotations

import os
from typing import Any

from fslcore.arguments import ArgumentError, check_one_of
from fslcore.data import datasets
from fslcore.data.cache import STORAGES
from fslcore.data.datasets.dataset import Progress, Request, split_as_given, split_by_class
from fslcore.data.preparation import RESIZES
from fslcore.data.store import ImageStore


def load(
    name_or_path: str | os.PathLike[str] | Any,
    *,
    image_size: int = 28,
    channels: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    on_error: str = "raise",
    resize: str = "stretch",
    storage: str = "memory",
) -> ImageStore:
    """Loads a dataset, from the cache if it is there.

    Args:
        name_or_path: One of `fslcore.data.datasets.names()`, such as "glyphs" (drawn, needs no download),
            "omniglot" (through TensorFlow Datasets) or "emoji" (made by `fslcore data build emoji`); a
            folder with one sub-folder of images per class, which may be in groups or in the parts train, val
            and test; a table with the columns filename and label, a DataFrame or a .csv file; "tfds:NAME",
            any image classification of TensorFlow Datasets; or TFRecord files, "*.tfrecord" (see
            `load_records`). A folder with the name of a dataset is written "./glyphs". One warning says what
            is left out, and what had to be guessed.
        image_size: Height and width of the images in pixels, at least 8.
        channels: For a folder, 1 or 3; by default grayscale if all its files are. emoji has 3, or 1 if you
            ask for it; the other named datasets have 1.
        data_dir: For omniglot, the TFDS data folder; the environment variable TFDS_DATA_DIR, then
            ~/tensorflow_datasets if None; the same for "tfds:NAME". For emoji, a folder or archive with its
            manifest.csv; the variable FSLCORE_EMOJI_DIR, then where `fslcore data build emoji` puts it if
            None. For a table, where relative file names begin; the folder of the file, or the working folder
            for a DataFrame, if None. None for the others.
        cache_dir: Folder of the cache; the environment variable FSLCORE_CACHE_DIR, then the user's cache if
            None.
        progress: Called as `progress(done, total, what)` while images are read or drawn, first with
            `done=0`, last with `done=total`; `what` says what is being done, such as "drawing glyphs". Not
            called if the cache serves the dataset.
        on_error: What to do about files of a folder that cannot be read: "raise" names them all in one error,
            "skip" leaves them out with a warning.
        resize: How pictures of a folder that are not square become so: "stretch", "crop" (the largest square
            in the middle) or "pad" (all of the picture on a white square); see `Preparation`.
        storage: Where the images are kept. "memory": all of them in memory. "mapped": in a file of the cache,
            from which they are read when they are needed, so that they may be larger than the memory. "jpeg":
            the same, compressed with a small loss to about a quarter. See `fslcore/docs/stores.md`.

    Returns:
        The whole dataset; `default_split` divides it into train, val and test.

    Raises:
        ArgumentError: An argument is out of range, the folder is not as described, files of it cannot be
            read, or the images would not fit into memory, or onto the disk if they are to stay there. It is a
            ValueError.
        OSError: The images are to stay on the disk, and the cache cannot be written.
        FileNotFoundError: omniglot is not prepared, and it cannot be downloaded.

    Example:
        >>> unseen = default_split(load("glyphs"))["test"]  # doctest: +SKIP
        >>> for support, query in unseen.episodes(5, 1, 15, episodes=1000):  # doctest: +SKIP
        ...     pass
    """
    dataset = datasets.find(name_or_path)
    dataset.check(image_size, channels, data_dir)
    check_one_of("on_error", on_error, ("raise", "skip"))
    check_one_of("resize", resize, RESIZES)
    check_one_of("storage", storage, STORAGES)
    if resize != "stretch" and not dataset.prepares:
        raise ArgumentError(
            "resize", f"must be 'stretch' for {dataset.name}, whose images are square", resize
        )
    return dataset.load(
        Request(image_size, channels, data_dir, cache_dir, progress, on_error, resize, storage)
    )


def default_split(store: ImageStore, by: str | None = None) -> dict[str, ImageStore]:
    """Divides a store by the official split of its dataset, or else by a sensible one.

    - a named dataset: as `split` in its module says. "glyphs": by alphabet; training has seen no letter of
      the alphabets of validation and test. "omniglot": by label, 1,028 / 172 / 423 classes drawn from all 50
      alphabets with a fixed seed. "emoji": by label, 802 / 268 / 267 classes with a fixed seed, or
      by="group": animals, plants and food are for the test, activities for validation.
    - a store with `parts`, such as a folder with train/, val/ and test/: as they say; validation that is
      not there is taken from the training, with a warning.
    - any other store: by label, 60 % / 20 % / 20 % of the classes, with a fixed seed.

    Args:
        store: A whole store, as `fslcore.data.load` returns it, or its embeddings.
        by: "group" for the split of a dataset by whole groups; None for the usual one.

    Returns:
        A dict with the stores "train", "val" and "test".

    Raises:
        ArgumentError: The store has fewer than 8 classes, so that the test part would have only one, or `by`
            names a split that the dataset does not have.
    """
    if len(store.part_names) > 1:
        return split_as_given(store)
    dataset = datasets.of(store)
    if by is not None:
        by_group = dataset.split_by_group if dataset is not None else None
        if by != "group" or by_group is None:
            raise ArgumentError(
                "by",
                "must be None, or 'group' for a dataset that has such a split beside its usual one, as emoji "
                "has (store.split(by='group', ...) divides any store with groups)",
                by,
            )
        return by_group(store)
    return split_by_class(store) if dataset is None else dataset.split(store)
