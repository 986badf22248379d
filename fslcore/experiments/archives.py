# SPDX-License-Identifier: MIT
"""What a file of arrays claims to hold, and whether it does: read before its content is unpacked.

A checkpoint is an .npz, whose members carry their shapes and checksums. A file of weights is HDF5, with a
digest of the weights among its attributes: it is compared with the weights once they have been read.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_DIGEST, _STEP = "fslcore_digest", "fslcore_step"
# JSON with a row for every epoch: a hundred thousand of them are below this.
_MOST_HEADER_BYTES = 1 << 26

Form = tuple[tuple[int, ...], str]


def forms(path: Path) -> dict[str, Form]:
    """Name -> (shape, dtype) of each array of an .npz, from the heads of its members alone.

    Raises:
        ValueError: a member is no array, or its size is not that of its shape; also what `zipfile` raises.
    """
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                shape, _, dtype = _head(file)
                body = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if dtype.hasobject or member.file_size != file.tell() + body:
                    raise ValueError(f"{member.filename} has not the size of its shape")
            name = member.filename.removesuffix(".npy")
            if name == "header" and body > _MOST_HEADER_BYTES:
                raise ValueError("its header is too large")
            found[name] = (tuple(shape), dtype.str)
    return found


def describe_weights(path: Path, weights: Iterable[Any], step: int | None) -> None:
    """Adds the digest of the weights to a file that Keras has written, and the step they are from."""
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs[_DIGEST] = _digest(weights)
        if step is not None:
            file.attrs[_STEP] = step


def weights_step(path: Path) -> int | None:
    """The training step that weights are from; None if the file does not say, or cannot be read."""
    import h5py

    try:
        with h5py.File(path) as file:
            return int(file.attrs[_STEP])
    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
        return None


def check_weights_file(path: Path, most: int) -> None:
    """Checks what a file of weights claims to hold.

    Args:
        path: the file.
        most: the most numbers that the learner and its optimizers hold.

    Raises:
        ValueError: it holds more, or refers to other files; also what h5py raises.
    """
    import h5py

    total = 0

    def count(group: Any) -> None:
        nonlocal total
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name} is a link")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                count(entry)
            elif entry.is_virtual or entry.external:
                raise ValueError(f"{name} is kept in another file")
            else:
                total += entry.size or 0

    with h5py.File(path) as file:
        count(file)
    # The state of optimizers that a learner is compiled without is ignored: Adam's is twice the weights.
    if total > 4 * most + 1000:
        raise ValueError(f"it holds {total:,} numbers, and the learner {most:,}")


def check_weights(path: Path, weights: Iterable[Any]) -> None:
    """Checks weights against the digest in the file that they were read from; earlier files have none.

    Raises:
        ValueError: they are not those that were written, or not finite.
    """
    import h5py

    weights = list(weights)
    if not all(np.isfinite(array).all() for array in map(np.asarray, weights) if array.dtype.kind == "f"):
        raise ValueError("a weight is not finite")
    with h5py.File(path) as file:
        expected = file.attrs.get(_DIGEST)
    if expected is not None and expected != _digest(weights):
        raise ValueError("the weights are not those that were written")


def _digest(weights: Iterable[Any]) -> str:
    content = hashlib.blake2b(digest_size=16)
    for weight in weights:
        content.update(np.ascontiguousarray(weight).tobytes())
    return content.hexdigest()


def _head(file: BinaryIO | Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"an array is of the unknown format {version}")
    return readers[version](file)
