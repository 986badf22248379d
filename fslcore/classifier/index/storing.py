# SPDX-License-Identifier: MIT
"""An index in one file, `index.fsl`: magic, digest, and an .npz file without pickles.

The file is replaced in one step. The arrays are written through, one after the other: the index is not held a
second time.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fslcore import files
from fslcore.arguments import ArgumentError

FILE = "index.fsl"

_MAGIC = b"fslind01"
_DIGEST_BYTES = 32
_BEFORE = len(_MAGIC) + _DIGEST_BYTES
_CHUNK = 1 << 22

Arrays = Mapping[str, npt.NDArray[Any]]


def write(folder: Path, described: Mapping[str, Any], arrays: Arrays) -> None:
    """Writes the file of a folder, which is made if it is not there.

    Args:
        folder: The folder.
        described: What the arrays are, as JSON takes it.
        arrays: Numbers.

    Raises:
        OSError: The file cannot be written; the old one stays.
    """
    header = np.frombuffer(json.dumps(dict(described)).encode(), np.uint8)

    def write_file(temporary: Path) -> None:
        with temporary.open("w+b") as file:
            file.write(b"\0" * _BEFORE)
            named: dict[str, Any] = {"header": header, **arrays}
            np.savez(file, **named)
            file.flush()
            digest = _digest(file)
            file.seek(0)
            file.write(_MAGIC + digest)

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.named(error, folder) from error
    files.replace(folder / FILE, write_file)


def read(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """What is described in the file of a folder, and the arrays.

    Raises:
        ArgumentError: There is none, it is damaged, or it is of another kind of index.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            start = file.read(_BEFORE)
            if start[: len(_MAGIC)] != _MAGIC or start[len(_MAGIC) :] != _digest(file):
                raise _damaged(path, "its content does not have its digest")
            file.seek(_BEFORE)
            with np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
            described = dict(json.loads(arrays.pop("header").tobytes()))
    except (FileNotFoundError, NotADirectoryError):
        raise ArgumentError(
            "folder", f"must be that of an index, with an {FILE}", described=str(folder)
        ) from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, ArgumentError):
            raise
        raise _damaged(path, repr(error)) from error
    if described.get("kind") != kind:
        raise ArgumentError(
            "folder", f"must be that of an index of the kind {kind!r}", described=repr(described.get("kind"))
        )
    return described, arrays


def _digest(file: BinaryIO) -> bytes:
    """That of the file behind magic and digest."""
    file.seek(_BEFORE)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()


def _damaged(path: Path, why: str) -> ArgumentError:
    return ArgumentError(
        "folder", f"must hold an {FILE} as it was written", described=f"{path}, which is damaged ({why})"
    )
