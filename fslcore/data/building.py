# SPDX-License-Identifier: MIT
"""Writing a stream of images into the file of a store, in one pass, block by block.

    KEY.building   the file, before it is moved to its name; locked by the process that writes it
    KEY.journal    a line of JSON for every block that is done: its digest, and what could not be read

A process that is killed leaves both. The next one checks the blocks in the journal by their digests, and goes
on behind them. While one process writes, others with the same name wait for it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.cpus import available_cpus
from fslcore.data import image_file, jpeg
from fslcore.data.exclusive import alone, remove
from fslcore.data.image_file import PAGE, Index, Layout, digest_of
from fslcore.data.stream import Block, Progress, Stream, Tell, Written

# A block, its images, and the reasons of those that cannot be read.
_Read: TypeAlias = tuple[Block, Any, dict[int, str]]

_SPARE_BYTES = 1 << 26  # of the disk, beside the images


class NoRoomError(ArgumentError):
    """The images do not fit on the disk."""


def build(
    path: Path,
    stream: Stream,
    kind: str,
    identity: str,
    source: str | None,
    notes: list[str],
    is_there: Callable[[], bool],
    progress: Progress | None = None,
    what: str = "writing images",
) -> None:
    """Writes the images of a stream into a file.

    Args:
        path: The file. Its folder is made.
        stream: The images.
        kind: One of `image_file.KINDS`.
        identity: Digest of all that the images depend on; blocks of another identity are not kept.
        source: Fingerprint that the file is to carry.
        notes: Sentences about the images, kept with them.
        is_there: Whether another process has written the file meanwhile.
        progress: Told the number of images that are done.
        what: What is being done, for `progress`.

    Raises:
        NoRoomError: The images do not fit on the disk.
        ArgumentError: What `stream.closing` raises.
        OSError: The folder or the file cannot be written; the message says what would help.
    """
    layout = Layout(kind, len(stream), stream.image_shape)
    if kind == "jpeg":
        jpeg.check_channels(stream.image_shape[2])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)

        def waits() -> None:
            if progress is not None:
                progress(0, len(stream), "waiting for another process that writes the same images")

        with alone(path.with_suffix(".building"), is_there, waits) as ours:
            if ours is None:
                return
            file, temporary = ours
            journal = temporary.with_suffix(".journal")
            _check_room(path, file, layout)
            with _Journal(journal, layout, identity) as done:
                _write(file, stream, layout, done, progress, what)
                try:
                    said = stream.closing(done.broken)
                except BaseException:
                    remove(temporary, journal)
                    raise
                image_file.finish(file, layout, _index(stream, done, source, [*notes, *said]))
            os.fsync(file.fileno())
            os.replace(temporary, path)
            remove(journal)
    except OSError as error:
        raise files.named(error, path) from error


def _write(
    file: BinaryIO,
    stream: Stream,
    layout: Layout,
    done: _Journal,
    progress: Progress | None,
    what: str,
) -> None:
    """Writes the blocks that are not there yet."""
    at = PAGE + done.keep_valid(file)
    numbers = [layout.rows(number) for number in range(done.blocks, layout.blocks)]
    blocks = [Block(first, last, PAGE + first * layout.image_bytes) for first, last in numbers]

    def tell(images: int) -> None:
        if progress is not None:
            progress(images, layout.count, what)

    tell(blocks[0].first if blocks else layout.count)
    read = _read(stream, layout, blocks, tell)
    if layout.kind == "jpeg":
        written = _compressed(file, read, at)
    elif stream.write is not None:
        written = stream.write(file.fileno(), blocks, tell)
    else:
        written = _plain(file, layout, read)
    with closing(written):  # at once, if this is interrupted
        for one in written:
            done.append(one)


def _plain(file: BinaryIO, layout: Layout, read: Iterable[_Read]) -> Generator[Written, None, None]:
    for block, images, broken in read:
        data = images.data.cast("B")
        _put(file, data, block.at)
        yield Written(digest_of(data), [layout.image_bytes] * len(images), broken)


def _compressed(file: BinaryIO, read: Iterable[_Read], at: int) -> Generator[Written, None, None]:
    with ThreadPoolExecutor(available_cpus()) as pool:
        for block, images, broken in read:
            encoded = list(pool.map(jpeg.encode, images))
            encoded = [b"" if block.first + i in broken else each for i, each in enumerate(encoded)]
            data = b"".join(encoded)
            _put(file, data, at)
            at += len(data)
            yield Written(digest_of(data), list(map(len, encoded)), broken)


def _read(stream: Stream, layout: Layout, blocks: Sequence[Block], tell: Tell) -> Iterator[_Read]:
    """Each block with its images, zeros for those that cannot be read, and the reasons of these.

    The array is used again for the next block.
    """
    images = iter(stream.images(blocks[0].first if blocks else layout.count, layout.count))
    buffer = np.empty((layout.block_rows, *layout.image_shape), np.uint8)
    for block in blocks:
        broken = {}
        for i in range(block.first, block.last):
            image = next(images)
            if isinstance(image, str):
                broken[i] = image
            buffer[i - block.first] = 0 if i in broken else image
            tell(i + 1)
        yield block, buffer[: block.last - block.first], broken
    next(images, None)  # lets the stream do what it does before and after its images


def _put(file: BinaryIO, data: Any, at: int) -> None:
    file.seek(at)
    file.write(data)
    file.flush()


def _index(stream: Stream, done: _Journal, source: str | None, notes: list[str]) -> Index:
    missing = np.zeros(len(stream), np.bool_)
    missing[list(done.broken)] = True
    return Index(
        source=source,
        labels=stream.labels,
        groups=stream.groups,
        parts=stream.parts,
        missing=missing,
        sizes=np.array(done.sizes, np.int64),
        digests=np.frombuffer(b"".join(done.digests), np.uint8).reshape(len(done.digests), -1),
        class_names=stream.class_names,
        group_names=stream.group_names,
        part_names=stream.part_names,
        preparation=stream.preparation,
        name=stream.name,
        notes=notes,
    )


class _Journal:
    """The blocks that are done, in a file that is appended to; a context manager that closes it.

    Attributes:
        digests: Of the blocks that are done.
        sizes: Bytes of their images.
        broken: Reasons by the number of the image.
    """

    def __init__(self, path: Path, layout: Layout, identity: str) -> None:
        self.digests: list[bytes] = []
        self.sizes: list[int] = []
        self.broken: dict[int, str] = {}
        self._layout = layout
        self._head = {"identity": identity, "kind": layout.kind, "count": layout.count}
        self._head["image_shape"] = list(layout.image_shape)
        # The last line may be half of one.
        self._found: list[str] = []
        with suppress(OSError, ValueError):
            head, *lines = path.read_text().splitlines(keepends=True)
            if json.loads(head) == self._head:
                self._found = [head, *(line for line in lines if line.endswith("\n"))]
        self._file = path.open("r+" if self._found else "w+")
        if not self._found:
            self._put(self._head)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def blocks(self) -> int:
        """How many blocks are done."""
        return len(self.digests)

    def keep_valid(self, file: BinaryIO) -> int:
        """Keeps the first blocks whose bytes are in the file as they were written; returns how many bytes."""
        end, kept = PAGE, len(self._found[0]) if self._found else 0
        for block, line in enumerate(self._found[1 : self._layout.blocks + 1]):
            first, last = self._layout.rows(block)
            try:
                told = json.loads(line)
                digest, sizes = bytes.fromhex(told["digest"]), told["sizes"]
                broken = {int(i): str(reason) for i, reason in told["broken"].items()}
            except (ValueError, KeyError, TypeError, AttributeError):  # not a line of this version
                break
            sizes = [sizes] * (last - first) if isinstance(sizes, int) else sizes
            file.seek(end)
            if digest_of(file.read(sum(sizes))) != digest:
                break
            self._note(digest, sizes, broken)
            end, kept = end + sum(sizes), kept + len(line)
        if self._found:  # the lines are ASCII: a character is a byte
            self._file.seek(kept)
            self._file.truncate()
        return end - PAGE

    def append(self, written: Written) -> None:
        """Notes that the next block has been written."""
        digest, sizes, broken = written
        self._note(digest, sizes, broken)
        all_equal = self._layout.kind != "jpeg"
        self._put({"digest": digest.hex(), "sizes": sizes[0] if all_equal else sizes, "broken": broken})

    def _note(self, digest: bytes, sizes: list[int], broken: dict[int, str]) -> None:
        self.digests.append(digest)
        self.sizes += sizes
        self.broken.update(broken)

    def _put(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _check_room(path: Path, file: BinaryIO, layout: Layout) -> None:
    """Raises NoRoomError if the images do not fit on the disk; those of JPEG take a tenth at least."""
    needed = layout.count * layout.image_bytes // (10 if layout.kind == "jpeg" else 1)
    needed += min(needed, _SPARE_BYTES)
    free = shutil.disk_usage(path.parent).free + os.fstat(file.fileno()).st_blocks * 512
    if needed > free:
        raise NoRoomError(
            "cache_dir",
            "must be a folder on a disk with room for the images",
            str(path.parent),
            described=f"{path.parent}: {layout.count:,} images need {needed / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB are free",
        )
