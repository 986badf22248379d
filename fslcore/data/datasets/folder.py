# SPDX-License-Identifier: MIT
"""The user's own images: a folder with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from fslcore.arguments import ArgumentError
from fslcore.data import cache
from fslcore.data.datasets.dataset import Dataset, Progress, Request, watched
from fslcore.data.store import ImageStore

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

_VERSION = 1  # in the file name of the cache: raise it whenever the images change
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def load(path: Path, request: Request) -> ImageStore:
    """Reads a folder whose sub-folders are the classes.

    Files with suffixes other than .png, .jpg, .jpeg, .bmp and .gif, and names that begin with a dot, are
    ignored. Classes may differ in size. Photographs are turned as their camera says, transparent pixels
    become white, only the first picture of an animation is read, and images that are not square are stretched
    to a square.

    Args:
        path: The folder.
        request: The size of the images, the channels (1 for grayscale, 3 for RGB; None for grayscale if all
            files are grayscale, else RGB), the cache and the progress. The cache is rebuilt if a file was
            added, removed or changed.

    Returns:
        A store; classes are sorted by name, images of a class by file name.

    Raises:
        ArgumentError: There are fewer than two sub-folders, a sub-folder has no image, or a file cannot be
            read (the message names it).
    """
    root = path.resolve()
    files = _files_of_classes(root)
    size, channels = request.image_size, request.channels
    key = f"{root.name}-{cache.digest(str(root))}-{size}-{channels or 'auto'}-r{_VERSION}"
    source = cache.file_fingerprint([file for group in files.values() for file in group])
    return cache.load_or_build(
        key, source, lambda: _build(root.name, files, size, channels, request.progress), request.cache_dir
    )


def dataset(path: Path) -> Dataset:
    """The dataset in a folder."""
    return Dataset("folder", partial(load, path))


def _build(
    name: str, files: dict[str, list[Path]], size: int, channels: int | None, progress: Progress | None
) -> ImageStore:
    every = [file for group in files.values() for file in group]
    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without holding the interpreter's lock
        if channels is None:
            channels = 1 if all(pool.map(_is_gray, every)) else 3
        images: Iterable[Any] = pool.map(lambda file: _read(file, size, channels), every)
        stacked = np.stack(list(watched(images, len(every), f"reading {name}", progress)))
    sizes = [len(group) for group in files.values()]
    labels = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    return ImageStore(stacked, labels, None, list(files), name=name)


def _files_of_classes(root: Path) -> dict[str, list[Path]]:
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        found = f"{len(classes)} sub-folder" + ("s" if not classes else f" ({classes[0].name})")
        loose = len(_images_in(root))
        raise ArgumentError(
            "name_or_path",
            "must be a folder with one sub-folder per class and at least two classes",
            root,
            described=f"{root} with {found}" + (f" and {loose} images beside" if loose else ""),
        )
    files = {entry.name: _images_in(entry) for entry in classes}
    empty = [name for name, group in files.items() if not group]
    if empty:
        raise ArgumentError(
            "name_or_path",
            f"must be a folder whose sub-folders all hold images ({', '.join(SUFFIXES)})",
            root,
            described=f"{root} with {len(empty)} without any, the first {empty[0]!r}",
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
    # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
    except Exception as error:
        raise ArgumentError(
            "name_or_path",
            "must hold readable images",
            file,
            described=f"{file}, which cannot be read: {error}",
        ) from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grayscale to 8 bits; Pillow's own conversion would clip instead of scale."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    """Transparent pixels to white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
