# SPDX-License-Identifier: MIT
"""Embeddings kept on disk: written block by block, continued after an interruption, verified when read.

    64 bytes      magic, N and D as int64, BLAKE2b of the numbers
    the numbers   float32 [N, D], row after row; read as a memory map

While it is written the file is called NAME.partial and has no digest yet; NAME.journal holds a line for each
block that is whole, with its number of rows and its digest. Both are locked by the process that writes.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from fslcore.data.exclusive import alone, remove

FloatArray = npt.NDArray[np.float32]

_MAGIC = b"fslemb01"
_HEADER_BYTES, _DIGEST_BYTES, _BLOCK_DIGEST_BYTES = 64, 32, 16


def read(path: Path, count: int) -> FloatArray | None:
    """The embeddings in a file, as a memory map.

    Args:
        path: The file.
        count: How many there must be.

    Returns:
        float32 [count, D]; None if there is no file or, with a warning, if it is damaged.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            rows, dim = (int.from_bytes(header[at : at + 8], "little") for at in (8, 16))
            whole = header[:8] == _MAGIC and rows == count and dim > 0
            if whole and os.fstat(file.fileno()).st_size == _HEADER_BYTES + 4 * rows * dim:
                digest = header[24 : 24 + _DIGEST_BYTES]
                if _digest(file) == digest:
                    return np.memmap(path, np.float32, "r", _HEADER_BYTES, (rows, dim))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        warnings.warn(f"the embeddings {path} cannot be read ({error}); they are made anew", stacklevel=2)
        return None
    warnings.warn(f"the embeddings {path} are damaged or incomplete; they are made anew", stacklevel=2)
    return None


def write(path: Path, count: int, blocks: Callable[[int], Iterator[FloatArray]]) -> FloatArray:
    """Writes embeddings, or waits for another process that writes the same ones.

    Args:
        path: The file. Its folder is made.
        count: How many there will be.
        blocks: Called as `blocks(first)`, yields arrays float32 [m, D] of the rows from `first` on. `first`
            is not 0 if an interrupted process has left some.

    Returns:
        The embeddings as a memory map.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path.with_name(path.name + ".partial"), lambda: _is_there(path, count)) as ours:
        if ours is not None:
            file, partial = ours
            journal = partial.with_suffix(".journal")
            done, dim = _whole_blocks(file, journal, count)
            with journal.open("a", encoding="ascii") as lines:
                for block in blocks(done):
                    dim = block.shape[1]
                    data = np.ascontiguousarray(block, np.float32).tobytes()
                    file.seek(_HEADER_BYTES + 4 * done * dim)
                    file.write(data)
                    file.flush()
                    print(len(block), dim, _block_digest(data), file=lines, flush=True)
                    done += len(block)
            if done != count:
                raise ValueError(f"{done} of {count} embeddings were made")
            _finish(file, count, dim)
            os.replace(partial, path)
            remove(journal)
    found = read(path, count)
    if found is None:
        raise OSError(f"{path} was damaged while it was written")
    return found


def _is_there(path: Path, count: int) -> bool:
    """Whether another process has written the file meanwhile; damage has been told already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(path, count) is not None


def _whole_blocks(file: BinaryIO, journal: Path, count: int) -> tuple[int, int]:
    """How many rows of a partial file are there already, and D; what follows them is cut off."""
    done, dim, kept = 0, 0, []
    with suppress(OSError, ValueError):
        for line in journal.read_text(encoding="ascii").splitlines():
            rows, width, digest = line.split(" ")
            size = 4 * int(rows) * int(width)
            file.seek(_HEADER_BYTES + 4 * done * int(width))
            data = file.read(size)
            if len(data) != size or _block_digest(data) != digest or done + int(rows) > count:
                break
            if dim not in (0, int(width)):
                break
            done, dim = done + int(rows), int(width)
            kept.append(line)
    journal.write_text("".join(f"{line}\n" for line in kept), encoding="ascii")
    file.truncate(_HEADER_BYTES + 4 * done * dim)
    return done, dim


def _finish(file: BinaryIO, count: int, dim: int) -> None:
    digest = _digest(file)
    file.seek(0)
    file.write(_MAGIC + count.to_bytes(8, "little") + dim.to_bytes(8, "little") + digest)
    file.flush()
    os.fsync(file.fileno())


def _digest(file: BinaryIO) -> bytes:
    """BLAKE2b of the numbers; the file stands behind its header."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    file.seek(_HEADER_BYTES)
    while data := file.read(1 << 20):
        digest.update(data)
    return digest.digest()


def _block_digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=_BLOCK_DIGEST_BYTES).hexdigest()
