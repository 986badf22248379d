# SPDX-License-Identifier: MIT
"""From a listing of files to a store that stays on the disk: images are read in blocks, never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fslcore.data import cache, pictures
from fslcore.data.datasets import reading
from fslcore.data.datasets.dataset import Request, watched
from fslcore.data.datasets.listing import Listing
from fslcore.data.pictures import Depth, Header
from fslcore.data.preparation import Preparation, prepared
from fslcore.data.store import ImageStore
from fslcore.data.stream import Stream

_AT_A_TIME = 4096  # files that are handed to the threads together


def load_listing(
    key: str, listing: Listing, root: Path, name: str, request: Request, guessed: list[str]
) -> ImageStore:
    """The store of the files of a listing, from the cache if they have not changed.

    Args:
        key: See `cache.load_or_build`.
        listing: The files and their classes.
        root: The folder that they lie in, for messages.
        name: Name of the store.
        request: Where the images are to be, size, channels, resizing, broken files, cache and progress.
        guessed: Takes sentences on what had to be guessed, and what is skipped.
    """
    source = listing.fingerprint()
    if request.storage == "memory":
        return cache.load_or_build(
            key,
            source,
            lambda: reading.store_of(listing, root, name, request, guessed),
            request.cache_dir,
            guessed,
        )
    return cache.load_or_stream(
        key,
        source,
        lambda: stream_of(listing, root, name, request, guessed),
        request.storage,
        request.cache_dir,
        guessed,
        request.progress,
        f"reading {name}",
    )


@contextmanager
def stream_of(
    listing: Listing, root: Path, name: str, request: Request, guessed: list[str]
) -> Iterator[Stream]:
    """The images of a listing one after the other; arguments as for `reading.store_of`.

    All files are opened first, to know their colours and their depth; only those of more than 8 bits are
    decoded then.
    """
    files, broken = listing.files, dict[int, str]()
    headers: list[Header] = []
    kinds: dict[Header, Header] = {}  # almost all headers are equal: one object stands for them
    with reading.pool() as pool:
        results = _in_order(pool, partial(reading.attempt, _header), files, 0, len(files))
        for i, found in enumerate(watched(results, len(files), f"looking at {name}", request.progress)):
            if isinstance(found, str):
                broken[i] = found
            else:
                headers.append(kinds.setdefault(found, found))
        depth = Depth.of(headers)
        channels = request.channels or (1 if all(header.gray for header in headers) else 3)
        size = request.image_size
        preparation = Preparation(size, channels, request.resize, depth.bits, depth.unit)
        guessed += reading.in_words(depth, headers)

        def image(i: int) -> Any:
            if i in broken:
                return broken[i]
            box = reading.box_of(listing, i)
            return reading.attempt(lambda file: prepared(file, preparation, box), files[i])

        def about_broken(reasons: dict[int, str]) -> list[str]:
            if request.on_error == "raise" or len(reasons) == len(files):
                raise reading.cannot_be_read(files, reasons)
            return reading.said_of_skipped(reasons, listing.labels, listing.class_names, files, root)

        yield Stream(
            (size, size, channels),
            listing.labels,
            lambda first, last: _in_order(pool, image, range(len(files)), first, last),
            listing.class_names,
            listing.groups,
            listing.group_names,
            name,
            listing.parts,
            listing.part_names,
            preparation,
            about_broken,
        )


def _header(file: str) -> Header:
    with pictures.opened(file) as image:
        return pictures.header(file, image)


def _in_order(
    pool: Executor, function: Callable[[Any], Any], items: Sequence[Any], first: int, last: int
) -> Iterator[Any]:
    """What a function makes of items, by the threads of a pool; few are waiting at a time."""
    for start in range(first, last, _AT_A_TIME):
        yield from pool.map(function, items[start : min(start + _AT_A_TIME, last)])
