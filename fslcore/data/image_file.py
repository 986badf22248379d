# SPDX-License-Identifier: MIT
"""The file of a store: images in blocks, and an index behind them.

    page 0        8 bytes of magic, SHA-256 of the rest of the page, JSON: where the index lies and its digest
    from 4096     the images, block after block; a memory map begins here, as TensorFlow's tensors must
    then          the index, an uncompressed .npz (arrays only, no pickle): labels, groups, names, the digests
                  of all blocks, for compressed images the size of each

A file of plain images is read into memory, every block checked by its digest, or mapped. Mapping it checks
page 0, the index, the size of the file and the first and the last block; `damaged_blocks` checks every block,
for which it reads the whole file.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fslcore.cpus import available_cpus
from fslcore.data.arrays import empty_images
from fslcore.data.jpeg import JpegImages
from fslcore.data.labelling import names_at
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore
from fslcore.data.views import chosen_rows

MAGIC = b"fslimg02"
PAGE = 4096
KINDS = ("plain", "jpeg")
_DIGEST_BYTES = 32
# Of a block before it is compressed: what a process reads at a time, and is lost when it is killed.
_BLOCK_BYTES = 1 << 23
_BLOCK_IMAGES = 64


@dataclass(frozen=True)
class Layout:
    """How the images of a file are arranged.

    Attributes:
        kind: "plain" for images as they are in memory, "jpeg" for compressed ones.
        count: Number of images; some may be missing.
        image_shape: (H, W, C).
    """

    kind: str
    count: int
    image_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind {self.kind!r} is not known")

    @property
    def image_bytes(self) -> int:
        """Bytes of an image in memory."""
        return math.prod(self.image_shape)

    @property
    def block_rows(self) -> int:
        """Images of a block; the last block has the rest."""
        return max(1, min(_BLOCK_IMAGES, _BLOCK_BYTES // self.image_bytes))

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.count // self.block_rows)

    def rows(self, block: int) -> tuple[int, int]:
        """The first image of a block, and the first after it."""
        return block * self.block_rows, min((block + 1) * self.block_rows, self.count)


@dataclass(frozen=True)
class Index:
    """What the file says of its images.

    Attributes:
        source: Fingerprint of what the images were made from, or None.
        labels: int32 [count], in any order.
        groups: int32 [count], or None; `parts` likewise.
        missing: bool [count], the images that could not be read.
        sizes: int64 [count], bytes of each image; 0 for those missing if they are compressed.
        digests: uint8 [blocks, 32], SHA-256 of the bytes of each block.
        class_names: One name per label; `group_names` and `part_names` likewise.
        preparation: How the images were made from pictures, or None.
        name: Name of the store.
        notes: Sentences about what was left out.
    """

    source: str | None
    labels: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32] | None
    parts: npt.NDArray[np.int32] | None
    missing: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint8]
    class_names: Sequence[str]
    group_names: Sequence[str]
    part_names: Sequence[str]
    preparation: Preparation | None
    name: str
    notes: Sequence[str]


_ARRAYS = ("labels", "groups", "parts", "missing", "sizes", "digests")


def digest_of(data: Any) -> bytes:
    """SHA-256 of a buffer, 32 bytes: CPUs have instructions for it."""
    return hashlib.sha256(data).digest()


def finish(file: BinaryIO, layout: Layout, index: Index) -> None:
    """Writes the index behind the images and, last, page 0."""
    header = {
        "kind": layout.kind,
        "count": layout.count,
        "image_shape": layout.image_shape,
        "source": index.source,
        "class_names": list(index.class_names),
        "group_names": list(index.group_names),
        "part_names": list(index.part_names),
        "preparation": None if index.preparation is None else index.preparation.to_config(),
        "name": index.name,
        "notes": list(index.notes),
    }
    arrays = {name: getattr(index, name) for name in _ARRAYS if getattr(index, name) is not None}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    at = PAGE + int(index.sizes.sum())
    file.seek(at)
    file.write(content)
    file.truncate()
    place = {"at": at, "size": len(content), "digest": digest_of(content).hex()}
    rest = json.dumps(place).encode().ljust(PAGE - len(MAGIC) - _DIGEST_BYTES)
    file.seek(0)
    file.write(MAGIC + digest_of(rest) + rest)
    file.flush()


def read(
    path: Path, source: str | None = None, notes: list[str] | None = None, into_memory: bool = False
) -> ImageStore | None:
    """The store of a file.

    Args:
        path: The file.
        source: Fingerprint that the file must carry; None accepts any.
        notes: Takes the sentences that are kept with the store.
        into_memory: Reads all images, which must be plain; otherwise they stay in the file.

    Returns:
        The store; None if there is no file, if it was made from another source, or (with a warning) if it
        cannot be used.
    """
    try:
        with path.open("rb") as file:
            layout, index = _opened(file)
            if source is not None and index.source != source:
                return None
            rows = _kept(index)
            if into_memory:
                images = _in_memory(file, layout, index, rows)
            else:
                for block in {0, layout.blocks - 1}:
                    _check_block(file, layout, index, block)
                images = _on_disk(path, layout, index, rows)
        store = _store(images, index, rows)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _DamagedError as error:
        warnings.warn(f"the cached file {path} {error}; it is rebuilt", stacklevel=2)
        return None
    except OSError as error:
        warnings.warn(f"the cached file {path} cannot be read ({error}); it is rebuilt", stacklevel=2)
        return None
    except Exception as error:  # whatever content can lead to: it was not written by this version
        warnings.warn(f"the cached file {path} has odd content ({error!r}); it is rebuilt", stacklevel=2)
        return None
    if notes is not None:
        notes += index.notes
    return store


def damaged_blocks(path: Path) -> list[int]:
    """The numbers of the blocks of a file whose bytes are not those that were written; reads all of it.

    Raises:
        OSError: The file cannot be read.
        ValueError: Its page 0, its index or its size is damaged.
    """
    with path.open("rb") as file:
        try:
            layout, index = _opened(file)
        except _DamagedError as error:
            raise ValueError(f"{path} {error}") from error
        return [block for block in range(layout.blocks) if _is_damaged(file, layout, index, block)]


class _DamagedError(Exception):
    """What is wrong with a file, as it follows on its name."""


def _opened(file: BinaryIO) -> tuple[Layout, Index]:
    """What a file holds."""
    page = file.read(PAGE)
    magic, expected, rest = page[:8], page[8 : 8 + _DIGEST_BYTES], page[8 + _DIGEST_BYTES :]
    if magic != MAGIC:
        raise _DamagedError("is not a store of images written by this version of fslcore")
    if digest_of(rest) != expected:
        raise _DamagedError("is damaged (the checksum of its first page does not match)")
    place = json.loads(rest)
    if os.fstat(file.fileno()).st_size != place["at"] + place["size"]:
        raise _DamagedError("is incomplete (its size is not what it should be)")
    file.seek(place["at"])
    content = file.read(place["size"])
    if digest_of(content).hex() != place["digest"]:
        raise _DamagedError("is damaged (the checksum of its index does not match)")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        height, width, channels = header["image_shape"]
        layout = Layout(header["kind"], header["count"], (height, width, channels))
        prepared = header["preparation"]
        index = Index(
            **{name: arrays.get(name) for name in _ARRAYS},
            **{name: header[name] for name in ("source", "class_names", "group_names", "part_names", "name")},
            preparation=None if prepared is None else Preparation.from_config(prepared),
            notes=[str(note) for note in header["notes"]],
        )
    columns = (index.labels, index.groups, index.parts, index.missing, index.sizes)
    if any(column is not None and column.shape != (layout.count,) for column in columns):
        raise ValueError("columns of another length than there are images")
    return layout, index


def _check_block(file: BinaryIO, layout: Layout, index: Index, block: int) -> None:
    if _is_damaged(file, layout, index, block):
        raise _DamagedError(f"is damaged (the checksum of block {block} does not match)")


def _is_damaged(file: BinaryIO, layout: Layout, index: Index, block: int) -> bool:
    first, last = layout.rows(block)
    file.seek(PAGE + int(index.sizes[:first].sum()))
    return digest_of(file.read(int(index.sizes[first:last].sum()))) != index.digests[block].tobytes()


def _kept(index: Index) -> npt.NDArray[np.int64]:
    """The numbers of the images that are there, class by class."""
    order = np.argsort(index.labels, kind="stable")
    return order[~index.missing[order]]


def _in_memory(file: BinaryIO, layout: Layout, index: Index, rows: npt.NDArray[np.int64]) -> Any:
    """The images of some numbers; every block is read and checked, by all cores."""
    if layout.kind != "plain":
        raise ValueError(f"images of the kind {layout.kind!r} are not read into memory")
    images = empty_images((len(rows), *layout.image_shape))
    places = np.full(layout.count, -1)
    places[rows] = np.arange(len(rows))

    def one(block: int) -> None:
        first, last = layout.rows(block)
        there = places[first:last]
        follow = there[0] >= 0 and bool(np.all(np.diff(there) == 1))
        shape = (last - first, *layout.image_shape)
        target = images[there[0] :][: last - first] if follow else np.empty(shape, np.uint8)
        read_into(file, target, PAGE + first * layout.image_bytes)
        if digest_of(target.data) != index.digests[block].tobytes():
            raise _DamagedError(f"is damaged (the checksum of block {block} does not match)")
        if not follow:
            images[there[there >= 0]] = target[there >= 0]

    with ThreadPoolExecutor(available_cpus()) as pool:
        for _ in pool.map(one, range(layout.blocks)):
            pass
    return images


def read_into(file: BinaryIO, target: npt.NDArray[np.uint8], at: int) -> None:
    """Fills an array with the bytes of a file from a place on; several threads may do so at once.

    Raises:
        OSError: The file cannot be read, or ends before.
    """
    rest = target.data.cast("B")
    while rest:
        count = os.preadv(file.fileno(), [rest], at)
        if not count:
            raise OSError(errno.EIO, "the file ends too early")
        rest, at = rest[count:], at + count


def _on_disk(path: Path, layout: Layout, index: Index, rows: npt.NDArray[np.int64]) -> Any:
    """The images of some numbers, which stay in the file."""
    images: Any
    if layout.kind == "jpeg":
        encoded = np.memmap(path, np.uint8, "r", PAGE, (int(index.sizes.sum()),))
        ends = np.cumsum(index.sizes)
        images = JpegImages(encoded, ends - index.sizes, ends, layout.image_shape)
    else:
        images = np.memmap(path, np.uint8, "r", PAGE, (layout.count, *layout.image_shape))
    if len(rows) < layout.count or np.any(np.diff(rows) != 1):
        images = chosen_rows(images, rows)
    return images


def _store(images: Any, index: Index, rows: npt.NDArray[np.int64]) -> ImageStore:
    """The store of the images of some numbers; classes and groups without images are left out."""
    classes, labels = np.unique(index.labels[rows], return_inverse=True)
    groups, group_names = names_at(rows, index.groups, index.group_names)
    return ImageStore(
        images,
        labels.astype(np.int32),
        groups,
        tuple(index.class_names[i] for i in classes),
        group_names,
        index.name,
        *names_at(rows, index.parts, index.part_names),
        index.preparation,
    )
