# SPDX-License-Identifier: MIT
"""Own images: a folder with one sub-folder per class."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fslcore.data import cache
from fslcore.data.progress import progress
from fslcore.data.store import ImageStore

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

_RECIPE = 1  # raise it whenever the images change
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def load(
    path: str | os.PathLike[str],
    *,
    image_size: int = 28,
    channels: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> ImageStore:
    """Reads a folder whose sub-folders are the classes.

    Files with other endings than .png, .jpg, .jpeg, .bmp and .gif, and names that begin with a dot, are
    ignored. Classes may differ in size. Photographs are turned as their camera says, transparent pixels
    become white, of an animation the first picture is taken, and images that are not square are stretched
    to a square.

    Args:
        path: The folder.
        image_size: Height and width to which the images are resized, in pixels.
        channels: 1 for grayscale, 3 for RGB; None for grayscale if all files are grayscale, else RGB.
        cache_dir: Folder of the cache; see `fslcore.data.cache.directory`. A file added, removed or changed
            is noticed.

    Returns:
        A store; classes are sorted by name, images of a class by file name.

    Raises:
        ValueError: path is no folder, has fewer than two sub-folders, a sub-folder has no image, a file
            cannot be read (the message names it), or channels is neither 1 nor 3.
    """
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1, 3 or None, received channels={channels!r}")
    root = Path(path).expanduser().resolve()
    files = _files_of_classes(root)
    key = f"{root.name}-{cache.digest(str(root))}-{image_size}-{channels or 'auto'}-r{_RECIPE}"
    source = cache.file_fingerprint([file for group in files.values() for file in group])
    return cache.load_or_build(key, source, lambda: _build(root.name, files, image_size, channels), cache_dir)


def _build(name: str, files: dict[str, list[Path]], image_size: int, channels: int | None) -> ImageStore:
    every = [file for group in files.values() for file in group]
    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without holding the interpreter's lock
        if channels is None:
            channels = 1 if all(pool.map(_is_gray, every)) else 3
        images: Iterable[Any] = pool.map(lambda file: _read(file, image_size, channels), every)
        stacked = np.stack(list(progress(images, f"reading {name}", len(every))))
    sizes = [len(group) for group in files.values()]
    return ImageStore(
        stacked, np.repeat(np.arange(len(sizes), dtype=np.int32), sizes), None, list(files), name=name
    )


def _files_of_classes(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        raise ValueError(
            f"path must be a folder with one sub-folder per class, received {root}, which is no folder"
        )
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        found = f"{len(classes)} sub-folder" + ("s" if not classes else f" ({classes[0].name})")
        loose = len(_images_in(root))
        raise ValueError(
            "path must be a folder with one sub-folder per class and at least two classes, "
            f"received {root} with {found}" + (f" and {loose} images beside" if loose else "")
        )
    files = {entry.name: _images_in(entry) for entry in classes}
    empty = [name for name, group in files.items() if not group]
    if empty:
        raise ValueError(
            f"path must be a folder whose sub-folders all hold images ({', '.join(SUFFIXES)}), "
            f"received {root} with {len(empty)} without any, the first {empty[0]!r}"
        )
    return files


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )


def _is_gray(file: Path) -> bool:
    def gray(image: Image.Image) -> bool:
        if image.mode != "P":
            return image.mode in _GRAY_MODES
        red, green, blue = np.reshape(image.getpalette(), (-1, 3)).T
        return bool(np.all(red == green) and np.all(green == blue))

    return _opened(file, gray)


def _read(file: Path, image_size: int, channels: int) -> npt.NDArray[np.uint8]:
    """uint8 [image_size, image_size, channels]."""

    def convert(image: Image.Image) -> npt.NDArray[np.uint8]:
        upright = _on_white(_eight_bits(ImageOps.exif_transpose(image))).convert(
            "L" if channels == 1 else "RGB"
        )
        small = upright.resize((image_size, image_size), Image.Resampling.BILINEAR)
        return np.asarray(small, dtype=np.uint8).reshape(image_size, image_size, channels)

    return _opened(file, convert)


def _opened(file: Path, use: Any) -> Any:
    try:
        with Image.open(file) as image:
            return use(image)
    except (
        Exception
    ) as error:  # a damaged file raises OSError, SyntaxError, struct.error ... according to its format
        raise ValueError(
            f"path must hold readable images, received {file}, which cannot be read: {error}"
        ) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grayscale to 8 bits; Pillow's own conversion would cut off instead of scale."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
