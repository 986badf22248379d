# SPDX-License-Identifier: MIT
"""The user's own images: a folder with one sub-folder per class."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

from fslcore.data import cache
from fslcore.data.datasets import layout, tree
from fslcore.data.datasets.dataset import Dataset, Request
from fslcore.data.datasets.left_out import LeftOut, printable
from fslcore.data.datasets.streaming import load_listing
from fslcore.data.store import ImageStore

_VERSION = 3  # in the file name of the cache: raise it whenever the images change
_LONGEST_NAME = 60  # of the folder, in the file name of the cache


def load(path: Path, request: Request) -> ImageStore:
    """Reads a folder whose sub-folders are the classes.

    All formats that Pillow reads are read, and HEIF with the extra "heif", known by the ending or the content
    of a file. Folders within that of a class belong to the class. Two levels of folders are groups and their
    classes, and folders "train", "val" and "test" are parts; `layout` says which forms there are. Classes may
    differ in size. Photographs are turned as their camera says, transparent pixels become white, only the
    first picture of an animation is read, and images that are not square are resized as the request says.
    Images with 10, 12 or 14 bits in 16 are scaled to 8.

    One warning names what is left out and what had to be guessed: the layout, hidden images, folders of an
    operating system (`@eaDir`, `__MACOSX`), run folders of fslcore, sub-folders without images, files that
    are no images.

    Args:
        path: The folder.
        request: The size of the images, the channels (1 for grayscale, 3 for RGB; None for grayscale if all
            files are grayscale, else RGB), how they are resized, what to do about images that cannot be read,
            the cache and the progress. The cache is rebuilt if a file was added, removed or changed.

    Returns:
        A store; classes are sorted by name, images of a class by file name.

    Raises:
        ArgumentError: There are fewer than two classes, files cannot be read (the message names them), or the
            images would not fit into memory.
    """
    root = path.resolve()
    notes = LeftOut(root)
    listing = layout.listing_of(tree.read(root, notes), notes)
    name = printable(root.name)
    guessed: list[str] = []
    store = load_listing(cache_key(name, root, request), listing, root, name, request, guessed)
    if said := "; ".join(filter(None, [notes.in_words(), *guessed])):
        warnings.warn(f"{printable(path)}: {said}", stacklevel=3)
    return store


def cache_key(name: str, place: Path, request: Request) -> str:
    """The name of the file in the cache for what a place holds, as a request asks for it."""
    key = (
        f"{name[:_LONGEST_NAME]}-{cache.digest(str(place))}-{request.image_size}-{request.channels or 'auto'}"
    )
    for value, usual in ((request.resize, "stretch"), (request.on_error, "raise")):
        key += f"-{value}" if value != usual else ""
    return f"{key}-r{_VERSION}"


def dataset(path: Path) -> Dataset:
    """The dataset in a folder."""
    return Dataset("folder", partial(load, path), prepares=True)
