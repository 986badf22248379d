# SPDX-License-Identifier: MIT
"""From a listing of files to a store: each file is read once, on all cores, and all broken ones are named."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.cpus import available_cpus
from fslcore.data import memory
from fslcore.data.arrays import empty_images
from fslcore.data.datasets import left_out, workers
from fslcore.data.datasets.dataset import Request, watched
from fslcore.data.datasets.left_out import LeftOut, printable
from fslcore.data.datasets.listing import Listing
from fslcore.data.datasets.workers import Look, message_of
from fslcore.data.pictures import Depth, Header
from fslcore.data.preparation import Box, Preparation, prepared
from fslcore.data.store import ImageStore

Result = TypeVar("Result")
Source = TypeVar("Source")
Images = npt.NDArray[np.uint8]

_NAMED = 3
# Files from which on processes save more time than it takes to start them, and files of one request.
_WORTH_PROCESSES = 4000
_SHARE = 64
_BESIDE_CPUS = 2  # threads that wait for a disk


def store_of(listing: Listing, root: Path, name: str, request: Request, guessed: list[str]) -> ImageStore:
    """Reads the files of a listing.

    Args:
        listing: The files and their classes.
        root: The folder that they lie in, for messages.
        name: Name of the store.
        request: Size, channels, resizing, what to do about broken files, and progress.
        guessed: Takes sentences on what had to be guessed, and what is skipped.

    Returns:
        The store, with the preparation of its images.

    Raises:
        ArgumentError: Files cannot be read (the message names them), or the images do not fit into memory.
    """
    images, headers, broken = _first_pass(listing, name, request)
    depth = Depth.of(list(headers.values()))
    preparation = Preparation(request.image_size, images.shape[3], request.resize, depth.bits, depth.unit)
    deep = [i for i, header in headers.items() if header.kind]
    if deep:
        again = partial(_read_deep, listing, preparation)
        with pool() as threads:
            results = watched(threads.map(again, deep), len(deep), f"scaling {name}", request.progress)
            for i, result in zip(deep, results, strict=True):
                if isinstance(result, str):
                    broken[i] = result
                else:
                    images[i] = result
    if broken and (request.on_error == "raise" or len(broken) == len(images)):
        raise cannot_be_read(listing.files, broken)
    guessed += in_words(depth, list(headers.values()))
    store = ImageStore(
        images,
        listing.labels,
        listing.groups,
        listing.class_names,
        listing.group_names,
        name,
        listing.parts,
        listing.part_names,
        preparation,
    )
    return _without(broken, store, listing.files, root, guessed) if broken else store


def _first_pass(
    listing: Listing, name: str, request: Request
) -> tuple[Images, dict[int, Header], dict[int, str]]:
    """The images but for the deep ones, the headers of those that could be read, the errors of the others."""
    total, size = len(listing.files), request.image_size
    images = _allocated(total, size, request.channels or 1)
    headers: dict[int, Header] = {}
    broken: dict[int, str] = {}
    results = watched(_looks(listing, request), total, f"reading {name}", request.progress)
    for i, result in enumerate(results):
        if isinstance(result, str):
            broken[i] = result
            continue
        headers[i], image = result
        # The first picture in colours makes all of them so.
        if request.channels is None and not headers[i].gray and images.shape[3] == 1:
            colours = _allocated(total, size, 3)
            colours[:i] = images[:i]
            images = colours
        if image is not None:
            images[i] = image
    return images, headers, broken


def _looks(listing: Listing, request: Request) -> Iterator[Look]:
    """A first look at every file, in order; those of large data sets are read by processes of their own."""
    jobs = [(file, box_of(listing, i)) for i, file in enumerate(listing.files)]
    many = len(jobs) >= _WORTH_PROCESSES and available_cpus() > 1
    share = _SHARE if many else 1
    shares = [jobs[i : i + share] for i in range(0, len(jobs), share)]
    with workers.crew(available_cpus()) if many else nullcontext() as crew:
        one_share = workers.look if crew is None else crew.look
        use = partial(
            one_share, image_size=request.image_size, channels=request.channels, resize=request.resize
        )
        with pool() as threads:
            for looks in threads.map(use, shares):
                yield from looks


def _allocated(total: int, size: int, channels: int) -> Images:
    memory.check_fits(size, total, channels)
    return empty_images((total, size, size, channels))


def _read_deep(listing: Listing, preparation: Preparation, i: int) -> Images | str:
    return attempt(lambda file: prepared(file, preparation, box_of(listing, i)), listing.files[i])


def box_of(listing: Listing, i: int) -> Box | None:
    """The part of a picture to take; None for all of it."""
    if listing.boxes is None:
        return None
    top, left, height, width = map(int, listing.boxes[i])
    return (top, left, height, width) if height else None


def _without(
    broken: dict[int, str], store: ImageStore, files: Sequence[str], root: Path, guessed: list[str]
) -> ImageStore:
    guessed += said_of_skipped(broken, store.labels, store.class_names, files, root)
    return store.take(np.setdiff1d(np.arange(len(files)), list(broken)))


def in_words(depth: Depth, headers: Sequence[Header]) -> list[str]:
    """What had to be guessed about files with these headers, one sentence each."""
    said = depth.in_words(headers)
    if paged := sum(header.pages > 1 for header in headers):
        said.append(f"{paged} TIFF files hold several pages, of which the first is read")
    return said


def said_of_skipped(
    broken: dict[int, str],
    labels: npt.NDArray[np.int32],
    class_names: Sequence[str],
    files: Sequence[str],
    root: Path,
) -> list[str]:
    """What is left out with the broken files, one sentence each; or an ArgumentError if too much is."""
    notes = LeftOut(root)
    for i in sorted(broken):
        notes.add(left_out.BROKEN, Path(files[i]))
    said = [notes.in_words()]
    left = np.unique(np.delete(labels, list(broken)))
    if gone := sorted(set(class_names) - {class_names[i] for i in left}):
        said.append(f"{len(gone)} classes without an image that can be read, the first {gone[0]!r}")
    if len(left) < 2:
        raise ArgumentError(
            "on_error",
            "must be 'raise' where 'skip' leaves fewer than two classes",
            "skip",
            described=f"{printable(root)}, {said[-1]}",
        )
    return said


def attempt(use: Callable[[Source], Result], file: Source) -> Result | str:
    """What `use` makes of a file, or the message of its error."""
    try:
        return use(file)
    # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
    except Exception as error:
        return message_of(error)


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that end soon after an error or Ctrl-C; Pillow decodes without the interpreter's lock."""
    threads = ThreadPoolExecutor(available_cpus() + _BESIDE_CPUS)
    try:
        with warnings.catch_warnings():
            # The memory of large photographs is bounded; what is far beyond is an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def cannot_be_read(files: Sequence[str], broken: dict[int, str]) -> ArgumentError:
    """The error that names the broken files."""
    numbers = sorted(broken)
    named = [f"{printable(files[i])}, which cannot be read: {broken[i]}" for i in numbers[:_NAMED]]
    if len(numbers) == 1:
        (described,) = named
    else:
        more = f"; and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
        described = f"{len(numbers)} broken of {len(files):,}: {'; '.join(named)}{more}"
    return ArgumentError(
        "name_or_path",
        "must hold readable images (on_error='skip' leaves others out)",
        [files[i] for i in numbers],
        described=described,
    )
