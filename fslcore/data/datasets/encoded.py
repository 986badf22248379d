# SPDX-License-Identifier: MIT
"""Encoded images that come with their labels one after the other, as records do: from them to a store.

They are passed over twice: first to know the labels, the colours and the depth of all, then to decode them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import cache, memory, pictures
from fslcore.data.datasets import reading
from fslcore.data.datasets.dataset import Request
from fslcore.data.labelling import distinct
from fslcore.data.pictures import Depth, Header
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore
from fslcore.data.stream import Stream

_AT_A_TIME = 1024  # images that are handed to the threads together
_NAMED = 3

# The bytes of an image, its label and the number of its part.
Example = tuple[bytes, "int | str", int]


@dataclass(frozen=True)
class Examples:
    """Encoded images with labels.

    Attributes:
        name: Name of the store.
        read: Called with a number, yields the examples from that number on.
        total: How many there are, for the progress; None if that is not known.
        where: Says in words where the example of a number lies.
        class_names: One name per label, for labels that are numbers of classes; None: the labels themselves.
        part_names: One name per part.
        left_out: Called after all have been read once; sentences about what is left out.
    """

    name: str
    read: Callable[[int], Iterator[Example]]
    total: int | None
    where: Callable[[int], str]
    class_names: Sequence[str] | None = None
    part_names: Sequence[str] = ()
    left_out: Callable[[], list[str]] = list


def load(
    key: str, source: str, examples: Callable[[], Examples], request: Request, notes: list[str]
) -> ImageStore:
    """The store of examples, from the cache if they have not changed.

    Args:
        key: Name of the file in the cache, without what the request adds.
        source: Fingerprint of what the examples are read from.
        examples: Opens them.
        request: Where the images are to be, size, channels, resizing, broken images, cache and progress.
        notes: Takes sentences about what is left out.
    """
    key += f"-{request.image_size}-{request.channels or 'auto'}-{request.resize}-{request.on_error}"

    @contextmanager
    def stream() -> Iterator[Stream]:
        with _stream(examples(), request, notes) as images:
            yield images

    return cache.load_or_stream(
        key, source, stream, request.storage, request.cache_dir, notes, request.progress, "reading images"
    )


@contextmanager
def _stream(examples: Examples, request: Request, notes: list[str]) -> Iterator[Stream]:
    with reading.pool() as pool:
        labels: list[int | str] = []
        parts: list[int] = []
        headers: list[Header] = []
        kinds: dict[Header, Header] = {}
        tell = request.progress or (lambda *_: None)
        about, total = f"looking at {examples.name}", examples.total or 0
        tell(0, total, about)
        found = examples.read(0)
        while chunk := list(islice(found, _AT_A_TIME)):
            encoded, some_labels, some_parts = zip(*chunk, strict=True)
            for header in pool.map(lambda each: reading.attempt(_header, each), encoded):
                if not isinstance(header, str):  # said when the image is to be decoded
                    headers.append(kinds.setdefault(header, header))
            labels += some_labels
            parts += some_parts
            tell(len(labels), max(total, len(labels)), about)
        notes += examples.left_out()
        if not labels:
            raise ArgumentError("name_or_path", "must hold images with labels", described=examples.name)
        depth = Depth.of(headers)
        channels = request.channels or (1 if all(header.gray for header in headers) else 3)
        size = request.image_size
        if request.storage == "memory":
            memory.check_fits(size, len(labels), channels)
        preparation = Preparation(size, channels, request.resize, depth.bits, depth.unit)
        notes += reading.in_words(depth, headers)
        class_names, numbers = _classes(labels, examples.class_names)
        current = _Position(examples.read)

        def images(first: int, last: int) -> Iterator[Any]:
            for start in range(first, last, _AT_A_TIME):
                chunk = current.take(start, min(start + _AT_A_TIME, last))
                yield from pool.map(lambda each: reading.attempt(preparation, each[0]), chunk)

        def closing(reasons: dict[int, str]) -> list[str]:
            if not reasons:
                return []
            some = sorted(reasons)[:_NAMED]
            named = "; ".join(f"{examples.where(i)}: {reasons[i]}" for i in some)
            more = f"; and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
            left = len(np.unique(np.delete(numbers, list(reasons))))
            if request.on_error == "raise" or left < 2:
                raise ArgumentError(
                    "name_or_path",
                    "must hold readable images (on_error='skip' leaves others out)"
                    if request.on_error == "raise"
                    else "must hold readable images of two classes or more",
                    described=f"{len(reasons)} broken of {len(labels):,}: {named}{more}",
                )
            return [f"{len(reasons)} of {len(labels):,} images cannot be read ({named}{more})"]

        several = len(examples.part_names) > 1
        yield Stream(
            (size, size, channels),
            numbers,
            images,
            class_names,
            name=examples.name,
            parts=np.array(parts, np.int32) if several else None,
            part_names=examples.part_names if several else (),
            preparation=preparation,
            closing=closing,
        )


class _Position:
    """Reads examples by their numbers, in one pass as long as each call begins where the last one ended."""

    def __init__(self, read: Callable[[int], Iterator[Example]]) -> None:
        self._read = read
        self._found: Iterator[Example] = iter(())
        self._next = -1

    def take(self, first: int, last: int) -> list[Example]:
        """The examples from `first` to `last`, without the latter."""
        if first != self._next:
            self._found = self._read(first)
        self._next = last
        return list(islice(self._found, last - first))


def _header(encoded: bytes) -> Header:
    with pictures.opened(BytesIO(encoded)) as image:
        return pictures.header(encoded, image)


def _classes(labels: list[Any], names: Sequence[str] | None) -> tuple[Sequence[str], Any]:
    """The names of the classes that occur, and the number of each label among them."""
    if names is None:
        return distinct("label", labels)
    kept, numbers = np.unique(np.array(labels, np.int64), return_inverse=True)
    return tuple(names[i] for i in kept), numbers.astype(np.int32)
