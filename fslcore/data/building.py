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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.cpus import available_cpus
from fslcore.data import image_file, jpeg
from fslcore.data.exclusive import alone, remove
from fslcore.data.image_file import PAGE, Index, Layout, digest_of
from fslcore.data.stream import Progress, Stream

_SPARE_BYTES = 1 << 26  # of the disk, beside the images


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
        ArgumentError: The images do not fit on the disk, or what `stream.about_broken` raises.
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
                    lost = stream.about_broken(done.broken) if done.broken else []
                except BaseException:
                    remove(temporary, journal)
                    raise
                image_file.finish(file, layout, _index(stream, done, source, [*notes, *lost]))
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
    tell = progress or (lambda *_: None)
    tell(layout.rows(done.blocks)[0] if done.blocks else 0, layout.count, what)
    buffer = np.empty((layout.block_rows, *layout.image_shape), np.uint8)
    with ThreadPoolExecutor(available_cpus() if layout.kind == "jpeg" else 1) as pool:
        for block in range(done.blocks, layout.blocks):
            first, last = layout.rows(block)
            broken = {}
            buffer[: last - first] = 0
            for i, image in enumerate(stream.images(first, last), start=first):
                if isinstance(image, str):
                    broken[i] = image
                else:
                    buffer[i - first] = image
                tell(i + 1, layout.count, what)
            images: Any = buffer[: last - first]
            sizes = [layout.image_bytes] * (last - first)
            data = images.data.cast("B")
            if layout.kind == "jpeg":
                encoded = list(pool.map(jpeg.encode, images))
                encoded = [b"" if first + i in broken else each for i, each in enumerate(encoded)]
                sizes, data = list(map(len, encoded)), b"".join(encoded)
            file.seek(at)
            file.write(data)
            file.flush()
            at += sum(sizes)
            done.append(digest_of(data), sizes, broken)


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

    def append(self, digest: bytes, sizes: list[int], broken: dict[int, str]) -> None:
        """Notes that the next block has been written."""
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
    """Raises ArgumentError if the images do not fit on the disk; those of JPEG take a tenth at least."""
    needed = layout.count * layout.image_bytes // (10 if layout.kind == "jpeg" else 1) + _SPARE_BYTES
    free = shutil.disk_usage(path.parent).free + os.fstat(file.fileno()).st_blocks * 512
    if needed > free:
        raise ArgumentError(
            "cache_dir",
            "must be a folder on a disk with room for the images",
            str(path.parent),
            described=f"{path.parent}: {layout.count:,} images need {needed / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB are free",
        )
