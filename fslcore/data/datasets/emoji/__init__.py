# SPDX-License-Identifier: MIT
"""`emoji`: 1,337 emoji, each drawn by up to nine designers; 9,184 colour pictures of 64 x 64 pixels.

A class is an emoji, an image is one designer's drawing of it, and the groups are the categories of Unicode
("Animals & Nature", "Objects", ...). The pictures are not part of this package: `fslcore data build emoji`
draws them from packages of icon sets, whose licences (Apache-2.0, MIT, CC-BY, CC-BY-SA) are in their
ATTRIBUTION.txt.

pictures   the data set in a folder or an archive
packages   the icon sets that it is drawn from
matching   which icon is which emoji
drawing    icons as pictures
building   `fslcore data build emoji`
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from fslcore.data import cache, memory
from fslcore.data.datasets.dataset import Dataset, Request, split_by_class, split_by_named_groups
from fslcore.data.datasets.emoji import pictures
from fslcore.data.store import ImageStore

NAME = "emoji"
VARIABLE = "FSLCORE_EMOJI_DIR"
_VERSION = 1  # in the file name of the cache: raise it whenever the images change

# Whole categories. Training then has seen no animal, no plant and no food.
_HELD_OUT = {"val": ("Activities",), "test": ("Animals & Nature", "Food & Drink")}


def load(request: Request) -> ImageStore:
    """The emoji of a folder or an archive.

    Args:
        request: The folder or archive (.zip, .tar, .tar.gz, .tgz, .tar.xz) with manifest.csv and the pictures
            (the environment variable FSLCORE_EMOJI_DIR, then where `fslcore data build emoji` puts them if
            None), the size of the images, the channels (3 if None), the cache and the progress.

    Returns:
        A store; classes sorted by code point, images of a class by designer, groups are the categories.

    Raises:
        FileNotFoundError: There is no such folder or archive.
        ArgumentError: It does not hold what its manifest says, or the images would not fit into memory.
    """
    place = located(request.data_dir)
    channels = request.channels or 3
    with pictures.opened(place) as source:
        rows = pictures.manifest(source)
        memory.check_fits(request.image_size, len(rows), channels)
        return cache.load_or_build(
            f"emoji-{request.image_size}-{channels}-r{_VERSION}-{cache.digest(str(place))}",
            cache.digest(
                [
                    source.fingerprint([row.file for row in rows]),
                    *([row.file, row.name, row.category] for row in rows),
                ]
            ),
            lambda: pictures.read(source, rows, request.image_size, channels, request.progress),
            request.cache_dir,
            storage=request.storage,
            progress=request.progress,
        )


def default_folder() -> Path:
    """Where `fslcore data build emoji` puts the data set, and `load` looks for it."""
    return Path(platformdirs.user_data_dir("fslcore")) / NAME


def located(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder or archive of the data set.

    Raises:
        FileNotFoundError: There is none.
    """
    chosen = data_dir or os.environ.get(VARIABLE)
    place = Path(chosen).expanduser() if chosen else default_folder()
    for candidate in (place, place / NAME):
        if (candidate / pictures.MANIFEST).is_file():
            return candidate.resolve()
    if place.is_file():
        return place.resolve()
    raise FileNotFoundError(
        f"data_dir must be a folder or an archive with the {pictures.MANIFEST} of the data set emoji, "
        f"received {place}: `fslcore data build emoji` makes one, and {VARIABLE} or data_dir names one that "
        "lies elsewhere"
    )


def split_by_category(store: ImageStore) -> dict[str, ImageStore]:
    """The harder split: animals, plants and food are for the test, activities for validation."""
    return split_by_named_groups(store, _HELD_OUT)


DATASET = Dataset(
    NAME,
    load,
    grouped=True,
    split=split_by_class,
    has_data_dir=True,
    split_by_group=split_by_category,
)
