# SPDX-License-Identifier: MIT
"""Images that stay where they are until they are asked for: rows of a memory map, and compressed images.

`ImageStore.images` is one of these where an array would have to be held in memory. They are read like arrays;
`np.asarray` reads all of them:

    images.shape, len(images), images[3], images[10:20], images[rows], np.asarray(images)
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.lib.mixins
import numpy.typing as npt

from fslcore.data.arrays import is_aligned, rows_of

# Read at a time where all images are passed over, as for a digest.
_BYTES_AT_A_TIME = 1 << 23
# Of a memory map, what a process may have touched, and how often it looks: for an image of 12 kB the kernel
# may map hundreds of kB around it.
_RESIDENT_BYTES = 400_000_000
_IMAGES_BETWEEN = 512
_STATM = Path("/proc/self/statm")


class StoredImages(numpy.lib.mixins.NDArrayOperatorsMixin):
    """Images uint8 [N, H, W, C] that are read when they are indexed, and only those.

    An index yields an array: a copy. NumPy's functions and operators read all images.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all images would take in memory."""
        return self.size

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        rows, *others = key if isinstance(key, tuple) else (key,)
        if rows is Ellipsis or rows is None:
            return np.asarray(self)[key]
        chosen = np.arange(len(self))[rows]
        images = self.read(np.atleast_1d(chosen).ravel()).reshape(*chosen.shape, *self.shape[1:])
        return images[(*[slice(None)] * chosen.ndim, *others)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("images that are read on demand cannot be an array without a copy")
        return self.read(np.arange(len(self))).astype(dtype or np.uint8, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = (np.asarray(value) if isinstance(value, StoredImages) else value for value in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def read(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The images uint8 [M, H, W, C] of row numbers [M]."""
        raise NotImplementedError

    def chosen(self, rows: npt.NDArray[Any]) -> StoredImages:
        """Some of the images, of row numbers [M]; nothing is read or copied."""
        raise NotImplementedError

    def parts(self) -> Iterator[Any]:
        """All there is to know of the images as buffers, one after the other; for a digest."""
        raise NotImplementedError


class MappedRows(StoredImages):
    """Some rows of a memory map.

    Args:
        base: uint8 [N, H, W, C], the memory map.
        rows: Row numbers [M] of `base`.
    """

    def __init__(self, base: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> None:
        height, width, channels = base.shape[1:]
        super().__init__((len(rows), height, width, channels))
        self.base = base
        self.rows = np.ascontiguousarray(rows, np.int64)
        self.paging = Paging(base)

    def read(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The images uint8 [M, H, W, C] of row numbers [M]."""
        found = self.rows[rows]
        self.paging.expect(found)
        return self.base[found]

    def chosen(self, rows: npt.NDArray[Any]) -> MappedRows:
        """Some of the images, of row numbers [M]; nothing is read or copied."""
        return MappedRows(self.base, self.rows[rows])

    def parts(self) -> Iterator[Any]:
        """The images, some megabytes at a time: the same bytes as those of an array in memory."""
        at_a_time = max(1, _BYTES_AT_A_TIME // math.prod(self.shape[1:]))
        for start in range(0, len(self), at_a_time):
            yield np.ascontiguousarray(self.read(np.arange(start, min(start + at_a_time, len(self))))).data


AnyImages: TypeAlias = npt.NDArray[np.uint8] | StoredImages


def chosen_rows(images: AnyImages, rows: npt.NDArray[Any]) -> Any:
    """Some images: those of a memory map stay there, others are copied unless they follow each other.

    Args:
        images: uint8 [N, ...].
        rows: Row numbers [M], at least one.
    """
    if isinstance(images, StoredImages):
        return images.chosen(rows)
    first, last = int(rows[0]), int(rows[-1])
    in_order = last - first + 1 == len(rows) and np.all(rows[1:] > rows[:-1])
    # TensorFlow would have to copy a map that begins elsewhere; then the rows alone are the smaller copy.
    if not in_order and mapping_of(images) is not None and is_aligned(images):
        return MappedRows(images, rows)
    return rows_of(images, rows)


def parts_of(images: AnyImages) -> Iterator[Any]:
    """All images as buffers, one after the other; the same bytes wherever they lie."""
    if isinstance(images, StoredImages):
        yield from images.parts()
    elif mapping_of(images) is None:
        yield images.data
    else:
        yield from MappedRows(images, np.arange(len(images))).parts()


def mapping_of(images: Any) -> mmap.mmap | None:
    """The memory map that an array lies in; None for memory."""
    while isinstance(images, np.ndarray):
        if isinstance(images, np.memmap) and images.mode == "c":  # its changes are the only copy
            return None
        images = images.base
    return images if isinstance(images, mmap.mmap) else None


class Paging:
    """What the operating system is told about an array in a large memory map; nothing for other arrays.

    Before images are read it is asked for just their pages, all at once. Where the map does not fit into
    memory, that is a hundred times as fast as to wait for each page, around which it reads a lot.

    Now and then the pages that this process has read are released. They stay in the cache of the system,
    where others can have the memory when they need it, but no longer count as memory of this process.

    Args:
        array: Of any kind.
    """

    def __init__(self, array: Any) -> None:
        mapping = mapping_of(array)
        large = mapping is not None and len(mapping) >= _RESIDENT_BYTES
        self._mapping = mapping if large and hasattr(mmap, "MADV_DONTNEED") else None
        if self._mapping is None:
            return
        start = np.frombuffer(self._mapping, np.uint8).ctypes.data
        self._offset = int(array.ctypes.data) - start
        self._row_bytes = int(array.strides[0])
        self._unseen = 0
        self._others = _file_bytes() or 0

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to be told."""
        return self._mapping is not None

    def expect(self, rows: npt.NDArray[Any]) -> None:
        """Says which rows of the array, in any order, are about to be read."""
        if self._mapping is not None and rows.size:
            first = np.unique(rows) * self._row_bytes
            self.expect_bytes(first, first + self._row_bytes, rows.size)

    def expect_bytes(self, starts: npt.NDArray[Any], ends: npt.NDArray[Any], images: int) -> None:
        """Says which bytes of the array, by rising start and end, are about to be read for some images."""
        if self._mapping is None or not starts.size:
            return
        starts = (starts + self._offset) // mmap.PAGESIZE
        ends = -(-(ends + self._offset) // mmap.PAGESIZE)
        # Neighbours are asked for together.
        begins = np.flatnonzero(np.r_[True, starts[1:] > ends[:-1]])
        lasts = ends[np.r_[begins[1:] - 1, len(ends) - 1]]
        for start, end in zip(starts[begins].tolist(), lasts.tolist(), strict=True):
            size = min(end * mmap.PAGESIZE, len(self._mapping)) - start * mmap.PAGESIZE
            self._mapping.madvise(mmap.MADV_WILLNEED, start * mmap.PAGESIZE, size)
        self._unseen += images
        if self._unseen >= _IMAGES_BETWEEN:
            self._unseen = 0
            self._look()

    def _look(self) -> None:
        """Releases the pages if they are many, or if the system does not say how many they are."""
        resident = _file_bytes()
        if self._mapping is not None and (resident is None or resident > self._others + _RESIDENT_BYTES):
            self._mapping.madvise(mmap.MADV_DONTNEED)
            self._others = _file_bytes() or 0


def _file_bytes() -> int | None:
    """Bytes of files that this process has mapped and touched, libraries included; None if unknown."""
    try:
        return int(_STATM.read_text().split()[2]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        return None
