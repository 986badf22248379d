# SPDX-License-Identifier: MIT
"""Images for few-shot learning: datasets, their division, episodes and batches.

    load("glyphs" | "omniglot" | folder) ──> ImageStore ──> split ──> episodes, pk_batches (tf.data.Dataset)

Loading imports no TensorFlow unless the dataset must be read through it for the first time.
"""

from __future__ import annotations

import os

from fslcore.data import folder, glyphs, omniglot
from fslcore.data.labels import get_dummies
from fslcore.data.splits import default_split
from fslcore.data.store import ImageStore

__all__ = ["ImageStore", "default_split", "get_dummies", "load"]


def load(
    name_or_path: str | os.PathLike[str],
    *,
    image_size: int = 28,
    channels: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> ImageStore:
    """Loads a dataset, from the cache if it is there.

    Args:
        name_or_path: "glyphs" (drawn, needs no download), "omniglot" (through TensorFlow Datasets), or a
            folder with one sub-folder of images per class. A folder that bears a dataset's name is written
            "./glyphs".
        image_size: Height and width of the images in pixels, at least 8.
        channels: For a folder, 1 or 3; by default grayscale if all its files are. The named datasets have 1.
        data_dir: For omniglot, the TFDS data folder; see `fslcore.data.omniglot.load`.
        cache_dir: Folder of the cache; the environment variable FSLCORE_CACHE_DIR, then the user's cache if
            None.

    Returns:
        The whole dataset; `default_split` divides it into train, val and test.

    Raises:
        ValueError: an argument is out of range, or the folder is not as described.
        FileNotFoundError: omniglot is neither prepared nor can it be downloaded.

    Example:
        >>> unseen = default_split(load("glyphs"))["test"]  # doctest: +SKIP
        >>> for support, query in unseen.episodes(5, 1, 15, episodes=1000):  # doctest: +SKIP
        ...     pass
    """
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 8:
        raise ValueError(f"image_size must be an integer of 8 or more, received image_size={image_size!r}")
    if name_or_path in ("glyphs", "omniglot") and channels not in (None, 1):
        raise ValueError(f"channels must be 1 or None for {name_or_path}, received channels={channels!r}")
    if name_or_path == "glyphs":
        return glyphs.load(image_size=image_size, cache_dir=cache_dir)
    if name_or_path == "omniglot":
        return omniglot.load(image_size=image_size, data_dir=data_dir, cache_dir=cache_dir)
    if not isinstance(name_or_path, (str, os.PathLike)) or not os.path.isdir(
        os.path.expanduser(name_or_path)
    ):
        raise ValueError(f"name_or_path must be 'glyphs', 'omniglot' or a folder, received {name_or_path!r}")
    return folder.load(name_or_path, image_size=image_size, channels=channels, cache_dir=cache_dir)
