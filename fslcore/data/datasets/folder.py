# SPDX-License-Identifier: MIT
"""The user's own images: a folder with one sub-folder per class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import cache, memory
from fslcore.data.arrays import empty_images
from fslcore.data.datasets import left_out, pictures
from fslcore.data.datasets.dataset import Dataset, Request, watched
from fslcore.data.datasets.left_out import LeftOut, printable
from fslcore.data.datasets.tree import classes_of
from fslcore.data.store import ImageStore

Result = TypeVar("Result")

_VERSION = 2  # in the file name of the cache: raise it whenever the images change
_LONGEST_NAME = 60  # of the folder, in the file name of the cache
_NAMED = 3


def load(path: Path, request: Request) -> ImageStore:
    """Reads a folder whose sub-folders are the classes.

    All formats that Pillow reads are read, known by the ending or the content of a file. Folders within that
    of a class belong to the class. Classes may differ in size. Photographs are turned as their camera says,
    transparent pixels become white, only the first picture of an animation is read, and images that are not
    square are stretched to a square. Images with 10, 12 or 14 bits in 16 are scaled to 8.

    One warning names what is left out and what had to be guessed: hidden images, folders of an operating
    system (`@eaDir`, `__MACOSX`), run folders of fslcore, sub-folders without images, files that are no
    images.

    Args:
        path: The folder.
        request: The size of the images, the channels (1 for grayscale, 3 for RGB; None for grayscale if all
            files are grayscale, else RGB), what to do about images that cannot be read, the cache and the
            progress. The cache is rebuilt if a file was added, removed or changed.

    Returns:
        A store; classes are sorted by name, images of a class by file name.

    Raises:
        ArgumentError: There are fewer than two classes, files cannot be read (the message names them), or the
            images would not fit into memory.
    """
    root = path.resolve()
    notes = LeftOut(root)
    files = classes_of(root, notes)
    size, channels, name = request.image_size, request.channels, printable(root.name)
    key = f"{name[:_LONGEST_NAME]}-{cache.digest(str(root))}-{size}-{channels or 'auto'}"
    key += f"-{request.on_error}" if request.on_error != "raise" else ""
    source = cache.file_fingerprint([file for group in files.values() for file in group])
    guessed: list[str] = []
    store = cache.load_or_build(
        f"{key}-r{_VERSION}",
        source,
        lambda: _build(root, files, request, guessed),
        request.cache_dir,
        guessed,
    )
    if said := "; ".join(filter(None, [notes.in_words(), *guessed])):
        warnings.warn(f"{printable(path)}: {said}", stacklevel=3)
    return store


def dataset(path: Path) -> Dataset:
    """The dataset in a folder."""
    return Dataset("folder", partial(load, path))


def _build(root: Path, files: Mapping[str, list[Path]], request: Request, guessed: list[str]) -> ImageStore:
    """The store; `guessed` takes what had to be guessed, and what is skipped."""
    every = [file for group in files.values() for file in group]
    labels = np.repeat(np.arange(len(files), dtype=np.int32), [len(group) for group in files.values()])
    broken: dict[int, str] = {}  # by the number of the file
    with _pool() as pool:
        found = list(pool.map(partial(_attempt, pictures.header), every))
        broken.update((i, header) for i, header in enumerate(found) if isinstance(header, str))
        headers = [header for header in found if isinstance(header, pictures.Header)]
        gray = all(header.gray for header in headers)
        channels = request.channels or (1 if gray else 3)
        depth = pictures.Depth.of(headers)
        size = request.image_size
        memory.check_fits(size, len(every), channels)
        images = empty_images((len(every), size, size, channels))

        def place(i: int) -> str | None:
            done = _attempt(lambda file: pictures.read(file, size, channels, depth), every[i])
            if isinstance(done, str):
                return done
            images[i] = done
            return None

        outcomes = pool.map(lambda i: broken.get(i) or place(i), range(len(every)))
        name = printable(root.name)
        for i, error in enumerate(watched(outcomes, len(every), f"reading {name}", request.progress)):
            if error:
                broken[i] = error
    if broken and (request.on_error == "raise" or len(broken) == len(every)):
        raise _cannot_be_read([every[i] for i in sorted(broken)], [broken[i] for i in sorted(broken)], every)
    guessed += depth.in_words(headers)
    if paged := sum(header.pages > 1 for header in headers):
        guessed.append(f"{paged} TIFF files hold several pages, of which the first is read")
    if not broken:
        return ImageStore(images, labels, None, list(files), name=name)
    kept = np.setdiff1d(np.arange(len(every)), list(broken))
    return _without_broken(
        ImageStore(images, labels, None, list(files), name=name), kept, every, root, guessed
    )


def _without_broken(
    store: ImageStore, kept: np.ndarray, every: list[Path], root: Path, guessed: list[str]
) -> ImageStore:
    part = store.take(kept)
    notes = LeftOut(root)
    for i in np.setdiff1d(np.arange(len(every)), kept):
        notes.add(left_out.BROKEN, every[i])
    guessed.append(notes.in_words())
    if gone := sorted(set(store.class_names) - set(part.class_names)):
        guessed.append(f"{len(gone)} classes without an image that can be read, the first {gone[0]!r}")
    if part.n_classes < 2:
        raise ArgumentError(
            "on_error",
            "must be 'raise' where 'skip' leaves fewer than two classes",
            "skip",
            described=f"{printable(root)}, {guessed[-1]}",
        )
    return part


def _attempt(use: Callable[[Path], Result], file: Path) -> Result | str:
    """What `use` makes of a file, or the message of its error."""
    try:
        return use(file)
    # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
    except Exception as error:
        return (str(error) or type(error).__name__).encode("utf-8", "backslashreplace").decode()


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon after an error or Ctrl-C; Pillow decodes without the interpreter's lock."""
    pool = ThreadPoolExecutor()
    try:
        with warnings.catch_warnings():
            # The memory of large photographs is bounded; what is far beyond is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _cannot_be_read(files: list[Path], errors: list[str], every: list[Path]) -> ArgumentError:
    first = [
        f"{printable(file)}, which cannot be read: {error}" for file, error in zip(files, errors, strict=True)
    ]
    if len(files) == 1:
        described = first[0]
    else:
        more = f"; and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        described = f"{len(files)} broken of {len(every):,}: {'; '.join(first[:_NAMED])}{more}"
    return ArgumentError(
        "name_or_path",
        "must hold readable images (on_error='skip' leaves others out)",
        files,
        described=described,
    )
