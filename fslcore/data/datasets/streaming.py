# SPDX-License-Identifier: MIT
"""From a listing of files to a store: each file is read once, on all cores, and all broken ones are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fslcore.cpus import available_cpus
from fslcore.data import cache, memory, pictures
from fslcore.data.datasets import reading, workers
from fslcore.data.datasets.dataset import Progress, Request, watched
from fslcore.data.datasets.listing import Listing
from fslcore.data.datasets.workers import GuessError, Job, Way
from fslcore.data.pictures import Depth, Header
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore
from fslcore.data.stream import Block, Stream, Tell, Written

Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_A_TIME = 4096  # files that are handed to the threads together
_GUESSED_FROM = 256  # files
# Files from which on processes save more time than it takes to start them.
_WORTH_PROCESSES = 4000


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

    Raises:
        ArgumentError: Files cannot be read (the message names them), or the images do not fit into memory, or
            onto the disk if they are to stay there.
    """
    source = listing.fingerprint()

    def load(guess: bool) -> ImageStore:
        return cache.load_or_stream(
            key,
            source,
            partial(stream_of, listing, root, name, request, guess),
            request.storage,
            request.cache_dir,
            guessed,
            request.progress,
            f"reading {name}",
        )

    try:
        return load(guess=True)
    except GuessError:
        return load(guess=False)


@contextmanager
def stream_of(listing: Listing, root: Path, name: str, request: Request, guess: bool) -> Iterator[Stream]:
    """The images of a listing one after the other.

    Args:
        listing: See `load_listing`.
        root: Likewise.
        name: Likewise.
        request: Likewise.
        guess: Guess from some files whether there are colours, and that none has more than 8 bits: the
            stream raises GuessError at the first file that shows otherwise. If not, or if one of those is
            deep, all files are opened first.
    """
    files, total = listing.files, len(listing.files)
    with reading.pool() as pool:
        if guess:
            some = np.unique(np.linspace(0, total - 1, min(total, _GUESSED_FROM)).astype(int))
            seen, broken = _looked_at([files[i] for i in some], pool)
            guess = not any(header.kind for header in seen)
        if not guess:
            seen, broken = _looked_at(files, pool, f"looking at {name}", request.progress)
        depth = Depth.of(list(seen))
        channels = request.channels or (1 if all(header.gray for header in seen) else 3)
        preparation = Preparation(request.image_size, channels, request.resize, depth.bits, depth.unit)
        if request.storage == "memory":
            memory.check_fits(request.image_size, total, channels)
        way = Way(preparation, guess, free=request.channels is None)
        reader = _Reader(listing, way, pool, Counter() if guess else seen, {} if guess else broken)

        def closing(broken: dict[int, str]) -> list[str]:
            if broken and (request.on_error == "raise" or len(broken) == total):
                raise reading.cannot_be_read(files, broken)
            said = reading.in_words(depth, list(reader.seen.elements()))
            if broken:
                said += reading.said_of_skipped(broken, listing.labels, listing.class_names, files, root)
            return said

        many = total >= _WORTH_PROCESSES and available_cpus() > 1
        yield Stream(
            (request.image_size, request.image_size, channels),
            listing.labels,
            reader.images,
            listing.class_names,
            listing.groups,
            listing.group_names,
            name,
            listing.parts,
            listing.part_names,
            preparation,
            closing,
            reader.write if many else None,
        )


class _Reader:
    """Reads the files of a listing in a way, and counts the kinds of files.

    Args:
        listing: The files.
        way: How they are read.
        pool: Threads for it.
        seen: How many there are of each kind; counted here if the way is guessed.
        broken: Messages, by number, of those that could not be opened.
    """

    def __init__(
        self, listing: Listing, way: Way, pool: Executor, seen: Counter[Header], broken: dict[int, str]
    ) -> None:
        self.seen = seen
        self._listing, self._way, self._pool, self._broken = listing, way, pool, broken

    def images(self, first: int, last: int) -> Iterator[npt.NDArray[np.uint8] | str]:
        """As `Stream.images`."""
        self._look_before(first)
        for found in _in_order(self._pool, self._read, range(first, last)):
            if isinstance(found, str):
                yield found
                continue
            header, image = found
            if header is not None:
                self.seen[header] += 1
            yield image

    def write(self, descriptor: int, blocks: Sequence[Block], tell: Tell) -> Generator[Written, None, None]:
        """As `Stream.write`."""
        self._look_before(blocks[0].first if blocks else len(self._listing.files))
        if not blocks:
            return
        preparation = self._way.preparation
        image_bytes = preparation.image_size**2 * preparation.channels
        with workers.crew(available_cpus(), descriptor) as crew, reading.pool() as threads:
            write = partial(workers.write, descriptor) if crew is None else crew.write

            def one(block: Block) -> workers.Share:
                return write(block.at, [self._job(i) for i in range(block.first, block.last)], self._way)

            for block, share in zip(blocks, _in_order(threads, one, blocks), strict=True):
                if share.wrong:
                    raise GuessError
                self.seen.update(share.headers)
                broken = {block.first + i: message for i, message in share.broken.items()}
                tell(block.last)
                yield Written(share.digest, [image_bytes] * (block.last - block.first), broken)

    def _look_before(self, first: int) -> None:
        """Counts the kinds of the files that an earlier process has read, and those that are read anew."""
        if self._way.guessed:
            self.seen, _ = _looked_at(self._listing.files[:first], self._pool)
            for header in self.seen:
                self._way.check(header)

    def _job(self, i: int) -> Job:
        return Job(self._listing.files[i], self._listing.box(i), self._broken.get(i))

    def _read(self, i: int) -> tuple[Header | None, npt.NDArray[np.uint8]] | str:
        return reading.attempt(self._way.read, self._job(i))


def _looked_at(
    files: Sequence[str], pool: Executor, what: str = "", progress: Progress | None = None
) -> tuple[Counter[Header], dict[int, str]]:
    """How many files there are of each kind, and the messages of those that cannot be opened, by number."""
    seen: Counter[Header] = Counter()
    broken: dict[int, str] = {}
    found = _in_order(pool, partial(reading.attempt, _header), files)
    for i, header in enumerate(watched(found, len(files), what, progress)):
        if isinstance(header, str):
            broken[i] = header
        else:
            seen[header] += 1
    return seen, broken


def _header(file: str) -> Header:
    with pictures.opened(file) as image:
        return pictures.header(file, image)


def _in_order(pool: Executor, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """What a function makes of items, by the threads of a pool; few are waiting at a time."""
    for start in range(0, len(items), _AT_A_TIME):
        yield from pool.map(function, items[start : start + _AT_A_TIME])
