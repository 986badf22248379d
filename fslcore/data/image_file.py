# SPDX-License-Identifier: MIT
"""The file of a store that stays on the disk: images in blocks, and an index behind them.

    page 0        8 bytes of magic, BLAKE2b of the rest of the page, JSON: where the index lies and its digest
    from 4096     the images, block after block; a memory map begins here, as TensorFlow's tensors must
    then          the index, an uncompressed .npz (arrays only, no pickle): labels, groups, names, the digests
                  of all blocks, for compressed images the size of each

Opening it checks page 0, the index, the size of the file and the first and the last block by their digests;
`damaged_blocks` checks every block, for which it reads the whole file.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fslcore.data.jpeg import JpegImages
from fslcore.data.labelling import names_at
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore
from fslcore.data.views import chosen_rows

MAGIC = b"fslimg01"
PAGE = 4096
KINDS = ("mapped", "jpeg")
_DIGEST_BYTES = 32
_BLOCK_BYTES = 1 << 23  # of images before they are compressed


@dataclass(frozen=True)
class Layout:
    """How the images of a file are arranged.

    Attributes:
        kind: "mapped" for plain images, "jpeg" for compressed ones.
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
        return max(1, _BLOCK_BYTES // self.image_bytes)

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
        digests: uint8 [blocks, 32], BLAKE2b of the bytes of each block.
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
    """BLAKE2b of a buffer, 32 bytes."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


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


def read(path: Path, source: str | None = None, notes: list[str] | None = None) -> ImageStore | None:
    """Opens the store of a file; its images stay there.

    Args:
        path: The file.
        source: Fingerprint that the file must carry; None accepts any.
        notes: Takes the sentences that are kept with the store.

    Returns:
        The store; None if there is no file, if it was made from another source, or (with a warning) if it
        cannot be used.
    """
    try:
        with path.open("rb") as file:
            opened = _opened(file)
            if isinstance(opened, str):
                warnings.warn(f"the cached file {path} {opened}; it is rebuilt", stacklevel=2)
                return None
            layout, index = opened
            if source is not None and index.source != source:
                return None
            damaged = [block for block in {0, layout.blocks - 1} if _is_damaged(file, layout, index, block)]
            if damaged:
                warnings.warn(
                    f"the cached file {path} is damaged (the checksum of block {damaged[0]} does not match); "
                    "it is rebuilt",
                    stacklevel=2,
                )
                return None
        store = _store(path, layout, index)
    except (FileNotFoundError, NotADirectoryError):
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
        opened = _opened(file)
        if isinstance(opened, str):
            raise ValueError(f"{path} {opened}")
        return [block for block in range(opened[0].blocks) if _is_damaged(file, *opened, block)]


def _opened(file: BinaryIO) -> tuple[Layout, Index] | str:
    """What a file holds, or what is wrong with it."""
    page = file.read(PAGE)
    magic, expected, rest = page[:8], page[8 : 8 + _DIGEST_BYTES], page[8 + _DIGEST_BYTES :]
    if magic != MAGIC:
        return "is not a store of images written by fslcore"
    if digest_of(rest) != expected:
        return "is damaged (the checksum of its first page does not match)"
    place = json.loads(rest)
    if os.fstat(file.fileno()).st_size != place["at"] + place["size"]:
        return "is incomplete (its size is not what it should be)"
    file.seek(place["at"])
    content = file.read(place["size"])
    if digest_of(content).hex() != place["digest"]:
        return "is damaged (the checksum of its index does not match)"
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
    return layout, index


def _is_damaged(file: BinaryIO, layout: Layout, index: Index, block: int) -> bool:
    first, last = layout.rows(block)
    file.seek(PAGE + int(index.sizes[:first].sum()))
    return digest_of(file.read(int(index.sizes[first:last].sum()))) != index.digests[block].tobytes()


def _store(path: Path, layout: Layout, index: Index) -> ImageStore:
    """The images that are there, sorted by class; classes and groups without images are left out."""
    images: Any
    if layout.kind == "jpeg":
        encoded = np.memmap(path, np.uint8, "r", PAGE, (int(index.sizes.sum()),))
        ends = np.cumsum(index.sizes)
        images = JpegImages(encoded, ends - index.sizes, ends, layout.image_shape)
    else:
        images = np.memmap(path, np.uint8, "r", PAGE, (layout.count, *layout.image_shape))
    order = np.argsort(index.labels, kind="stable")
    rows = order[~index.missing[order]]
    if len(rows) < layout.count or np.any(np.diff(rows) != 1):
        images = chosen_rows(images, rows)
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
