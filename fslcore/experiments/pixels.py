# SPDX-License-Identifier: MIT
"""The size of the images of a run, where none was chosen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from fslcore.data import datasets
from fslcore.experiments.recipes import networks

# Of the folders of a data folder: pictures with colours are hardly rarer than one in so many.
_FOLDERS_LOOKED_INTO = 64
_GREY = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
# Of the named datasets with colours; the others are black and white drawings.
_PIXELS = {"emoji": 64}


def usual_size(encoder: str, data: str | os.PathLike[str]) -> int:
    """The height and width to which images are resized for a network.

    Args:
        encoder: the name of the network.
        data: the name of a dataset; or a folder, of which a picture of each sub-folder is looked at; or a
            table.
    """
    sizes = networks.sizes(encoder)
    if data in _PIXELS:
        return max(sizes.least, _PIXELS[str(data)])
    if data in datasets.names():
        return sizes.drawings
    place = Path(data).expanduser()  # a folder, or a table beside the files
    return sizes.photographs if _has_colours(place if place.is_dir() else place.parent) else sizes.drawings


def _has_colours(folder: Path) -> bool:
    return any(mode not in _GREY for mode in _modes(folder))


def _modes(folder: Path) -> Iterator[str]:
    """How Pillow would read the first picture of each folder within a folder."""
    looked_into = 0
    for root, names, files in os.walk(folder):
        names.sort()
        for file in sorted(files):
            try:
                with Image.open(Path(root, file)) as image:
                    yield image.mode
            except Exception:  # no picture, or a damaged one: reading the folder says so
                continue
            looked_into += 1
            break
        if looked_into >= _FOLDERS_LOOKED_INTO:
            return
