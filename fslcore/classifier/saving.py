# SPDX-License-Identifier: MIT
"""Support sets on disk.

    encoder.keras    the learner or the Keras model; written once
    support.fsl      everything else, replaced at each change
        8 bytes      magic and format
        32 bytes     BLAKE2b of the rest
        the rest     an .npz file: `header` (JSON), `numbers`, `rows`, `pictured`, `pictures` if any is known

Each file is written whole or not at all. The header names the encoder by a digest of its layers and weights,
so that embeddings of one encoder are never compared with those of another.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.classifier.preparing import as_label
from fslcore.classifier.state import State, restored

ENCODER, SUPPORT = "encoder.keras", "support.fsl"

_MAGIC, _FORMAT = b"fslset", 1
_DIGEST_BYTES = 32
_HEADER_BYTES = len(_MAGIC) + 2 + _DIGEST_BYTES


def write(folder: Path, state: State, described: Mapping[str, Any]) -> None:
    """Writes the support file of a folder, which must exist.

    Args:
        folder: The folder.
        state: What to write.
        described: What belongs to the set beside its state, as JSON takes it.

    Raises:
        OSError: The file cannot be written; the old one stays.
    """
    header = {
        **described,
        "labels": list(state.labels),
        "threshold": state.threshold,
        "temperature": state.temperature,
        "version": state.version,
    }
    arrays: dict[str, Any] = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "numbers": state.numbers,
        "rows": state.rows,
        "pictured": state.pictured,
    }
    if state.pictures is not None:
        arrays["pictures"] = state.pictures
    content = io.BytesIO()
    np.savez(content, **arrays)
    data = content.getbuffer()
    digest = hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()

    def write_file(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(_MAGIC + f"{_FORMAT:02}".encode() + digest)
            file.write(data)

    files.replace(folder / SUPPORT, write_file)


def read(folder: Path) -> tuple[State, dict[str, Any]]:
    """The state in the support file of a folder, and what was described with it.

    Raises:
        ArgumentError: There is none, it is damaged, or it is of another format.
    """
    path = folder / SUPPORT
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
            if start[: len(_MAGIC)] != _MAGIC:
                raise _damaged(path, "it begins otherwise")
            found = start[len(_MAGIC) : len(_MAGIC) + 2]
            if found != f"{_FORMAT:02}".encode():
                raise ArgumentError(
                    "folder",
                    f"must hold a support set of the format {_FORMAT:02}, which this fslcore reads: use the "
                    "version that wrote it",
                    described=f"{path} of the format {found.decode(errors='replace')}",
                )
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise ArgumentError(
            "folder", f"must be that of a support set, with a {SUPPORT}", described=str(folder)
        ) from None
    if hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest() != start[-_DIGEST_BYTES:]:
        raise _damaged(path, "its content does not have its digest")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as content:
            header = dict(json.loads(content["header"].tobytes()))
            return restored(
                [as_label(label) for label in header.pop("labels")],
                content["numbers"],
                content["rows"],
                content.get("pictures"),
                content["pictured"],
                threshold=header.pop("threshold"),
                temperature=header.pop("temperature"),
                version=header.pop("version"),
            ), header
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, repr(error)) from error


def _damaged(path: Path, why: str) -> ArgumentError:
    return ArgumentError(
        "folder", f"must hold a {SUPPORT} as it was written", described=f"{path}, which is damaged ({why})"
    )
